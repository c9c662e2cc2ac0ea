#pragma once

#include <string>

namespace striate {

/// Pixels that a line of UTF-8 text takes in a figure, in DejaVu Sans of so many points, kerning left aside; what is
/// not ASCII counts as wide as a letter can be.
double text_width(const std::string& text, double points);

}  // namespace striate
