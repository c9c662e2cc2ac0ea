#pragma once

#include <string>
#include <vector>

#include "tools/experiments/tuning.h"

namespace striate {

/// A column of tuning.csv.
struct TuningColumn {
  const char* name;
  double Tuning::*value;
  const char* title;  ///< as a summary calls it
  const char* unit;   ///< "°", "octaves"; empty for none
  double macaque;     ///< median of macaque V1 (Ringach et al. 2002, n = 308); NaN where none is published there
};
const std::vector<TuningColumn>& tuning_columns();

/// Macaque V1's circular variance (Ringach, Shapley & Hawken 2002, n = 308).
inline constexpr double kMacaqueLowerQuartile = 0.335, kMacaqueMedian = 0.605, kMacaqueUpperQuartile = 0.785;

/// tuning.csv: kernel, responsive, and the columns; a row a kernel, cells empty where undefined.
void write_tuning_table(const std::string& file, const std::vector<Tuning>& tunings);

/// Values of a column over the responsive kernels, undefined ones left out.
std::vector<double> defined_values(const std::vector<Tuning>& tunings, double Tuning::*value);

/// For people: how many respond, median and quartiles of every column beside macaque V1, and the most selective ones.
std::string tuning_summary(const std::vector<Tuning>& tunings);

}  // namespace striate
