#pragma once

#include <filesystem>
#include <string>

#include "engine/train/learning_rate_finder.h"

namespace striate {

/// The loss of a learning-rate search over the rate, on a logarithmic axis: as measured, smoothed, and the suggestion.
void draw_rate_search(const RateSearch& search, const std::string& title, const std::filesystem::path& file);

/// The same as a table: step,learning_rate,loss,smoothed_loss.
void write_rate_search(const RateSearch& search, const std::filesystem::path& csv);

}  // namespace striate
