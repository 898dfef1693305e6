// SPDX-License-Identifier: Apache-2.0
#pragma once
// Line plots as SVG text, for reports. Equal input gives equal text.

#include <string>
#include <utility>
#include <vector>

namespace lsd::tasks {

struct PlotSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // by ascending x; not finite ones are left out
  bool reference = false;  // a level to compare with: drawn across the whole plot at its first point's y, dashed
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<PlotSeries> series;
};

std::string svg_of(const Plot& plot);
// Round steps of 1, 2 or 5 times a power of ten that cover [low, high]: about five of them.
std::vector<double> axis_ticks(double low, double high);

}  // namespace lsd::tasks
