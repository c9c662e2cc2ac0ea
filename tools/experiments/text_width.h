#pragma once

#include <string>
#include <vector>

namespace striate {

/// Pixels that a line of UTF-8 text takes in a figure, in DejaVu Sans of so many points, kerning left aside; what is
/// not ASCII counts as wide as a letter can be.
double text_width(const std::string& text, double points);

/// The text itself where it takes no more than `pixels`; else its first synonyms ("tench, Tinca tinca" → "tench") where
/// they fit, else its beginning and an ellipsis.
std::string fitted(const std::string& text, double points, double pixels);

/// Lines of no more than `pixels` each, broken at spaces; a longer word is shortened.
std::vector<std::string> wrapped(const std::string& text, double points, double pixels);

}  // namespace striate
