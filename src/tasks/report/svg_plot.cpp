// SPDX-License-Identifier: Apache-2.0
#include "svg_plot_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

namespace lsd::tasks {
namespace {

constexpr double kWidth = 720, kHeight = 420, kLeft = 70, kRight = 230, kTop = 40, kBottom = 55;
// Okabe & Ito (2008): told apart by people with any colour vision.
constexpr std::array<std::string_view, 7> kColours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                      "#E69F00", "#56B4E9", "#000000"};

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void cover(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void widen() {
    if (!(low <= high)) *this = {0.0, 1.0};
    if (low == high) *this = {low - 0.5, high + 0.5};
  }
};

bool finite(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

class Drawing {
 public:
  explicit Drawing(const Plot& plot) : plot_(plot) {
    for (const auto& series : plot.series) {
      for (const auto& point : series.points) {
        if (!finite(point)) continue;
        if (!series.reference) x_.cover(point.first);
        y_.cover(point.second);
      }
    }
    x_.widen();
    y_.widen();
    const double margin = 0.05 * (y_.high - y_.low);
    y_ = {y_.low - margin, y_.high + margin};
  }

  std::string text() {
    out_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
        kWidth, kHeight);
    label(kLeft + plot_width() / 2, 22, "middle", plot_.title, 15);
    label(kLeft + plot_width() / 2, kHeight - 12, "middle", plot_.x_label);
    out_ += fmt::format("<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                        kTop + plot_height() / 2, escaped(plot_.y_label));
    draw_axes();
    for (std::size_t i = 0; i < plot_.series.size(); ++i) draw_series(i);
    return out_ + "</svg>\n";
  }

 private:
  static double plot_width() { return kWidth - kLeft - kRight; }
  static double plot_height() { return kHeight - kTop - kBottom; }
  double at_x(double x) const { return kLeft + (x - x_.low) / (x_.high - x_.low) * plot_width(); }
  double at_y(double y) const { return kHeight - kBottom - (y - y_.low) / (y_.high - y_.low) * plot_height(); }

  void label(double x, double y, std::string_view anchor, std::string_view text, int size = 12) {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-size=\"{}\">{}</text>\n", x, y, anchor,
                        size, escaped(text));
  }

  void line(double x1, double y1, double x2, double y2, std::string_view style) {
    out_ += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1, x2, y2, style);
  }

  void draw_axes() {
    for (const double tick : axis_ticks(y_.low, y_.high)) {
      line(kLeft, at_y(tick), kWidth - kRight, at_y(tick), "stroke=\"#dddddd\"");
      label(kLeft - 6, at_y(tick) + 4, "end", fmt::format("{:.6g}", tick));
    }
    for (const double tick : axis_ticks(x_.low, x_.high)) {
      line(at_x(tick), kHeight - kBottom, at_x(tick), kHeight - kBottom + 5, "stroke=\"black\"");
      label(at_x(tick), kHeight - kBottom + 19, "middle", fmt::format("{:.6g}", tick));
    }
    line(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "stroke=\"black\"");
    line(kLeft, kTop, kLeft, kHeight - kBottom, "stroke=\"black\"");
  }

  void draw_series(std::size_t number) {
    const auto& series = plot_.series[number];
    const auto colour = kColours[number % kColours.size()];
    const auto style = fmt::format("stroke=\"{}\" stroke-width=\"2\" fill=\"none\"{}", colour,
                                   series.reference ? " stroke-dasharray=\"5 4\"" : "");
    std::string points;
    for (const auto& point : series.points) {
      if (!finite(point)) continue;
      if (series.reference) {
        line(kLeft, at_y(point.second), kWidth - kRight, at_y(point.second), style);
        break;
      }
      points += fmt::format("{:.1f},{:.1f} ", at_x(point.first), at_y(point.second));
    }
    if (!points.empty()) out_ += fmt::format("<polyline points=\"{}\" {}/>\n", points, style);
    const double y = kTop + 10 + 18 * static_cast<double>(number);
    line(kWidth - kRight + 12, y, kWidth - kRight + 36, y, style);
    label(kWidth - kRight + 42, y + 4, "start", series.name);
  }

  const Plot& plot_;
  Range x_, y_;
  std::string out_;
};

}  // namespace

std::vector<double> axis_ticks(double low, double high) {
  const double raw = (high - low) / 5.0, power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10.0 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw * (1.0 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  for (auto i = static_cast<std::int64_t>(std::ceil(low / step - 1e-9));
       static_cast<double>(i) * step <= high + 1e-9 * step; ++i) {
    ticks.push_back(static_cast<double>(i) * step);
  }
  return ticks;
}

std::string svg_of(const Plot& plot) {
  return Drawing(plot).text();
}

}  // namespace lsd::tasks
