#include "tools/experiments/report/report.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "tools/experiments/png.h"
#include "tools/experiments/report/assets.h"
#include "tools/experiments/tuning_table.h"

namespace striate {
namespace {

using nlohmann::ordered_json;

std::string base64_of(const void* data, size_t size) {
  return base64(std::string(static_cast<const char*>(data), size));
}

ordered_json cell(const std::optional<double>& value) { return value ? ordered_json(*value) : ordered_json(); }

ordered_json to_json(const MetricsTable& metrics) {
  ordered_json rows = ordered_json::array();
  for (const auto& row : metrics.rows) {
    ordered_json& cells = rows.emplace_back(ordered_json::array());
    for (const auto& value : row) cells.push_back(cell(value));
  }
  return {{"columns", metrics.columns}, {"rows", rows}};
}

ordered_json to_json(const KernelHistory& history, bool tuned) {
  const std::string hint = "The kernels of layer " + history.layer + ": " + history.description +
                           (tuned ? ". Choose one to see what it is tuned to." : ". Choose one to see it large.");
  return {{"hint", hint},
          {"count", history.count},
          {"height", history.height},
          {"width", history.width},
          {"channels", history.channels},
          {"epochs", history.epochs},
          {"pixels", base64_of(history.pixels.data(), history.pixels.size())}};
}

ordered_json to_json(const TuningHistory& history) {
  ordered_json table = ordered_json::array();
  auto value = history.table.begin();
  for (size_t e = 0; e < history.epochs.size(); ++e) {
    ordered_json& kernels = table.emplace_back(ordered_json::array());
    for (int64_t k = 0; k < history.kernels(); ++k) {
      ordered_json& cells = kernels.emplace_back(ordered_json::array());
      for (size_t c = 0; c < history.columns.size(); ++c) cells.push_back(cell(*value++));
    }
  }
  return {{"epochs", history.epochs},
          {"orientations", history.orientations},
          {"frequencies", history.frequencies},
          {"columns", history.columns},
          {"table", table},
          {"peaks", base64_of(history.peaks.data(), history.peaks.size() * sizeof(float))},
          {"curves", base64_of(history.curves.data(), history.curves.size())}};
}

/// The cells that are not 0, for most of many classes are.
ordered_json to_json(const ConfusionMatrix& confusion, const Report& report) {
  ordered_json counts = ordered_json::array();
  for (size_t truth = 0; truth < confusion.size(); ++truth) {
    for (size_t predicted = 0; predicted < confusion[truth].size(); ++predicted) {
      if (confusion[truth][predicted] != 0) counts.push_back({truth, predicted, confusion[truth][predicted]});
    }
  }
  return {{"split", report.split}, {"classes", report.classes}, {"counts", counts}};
}

ordered_json to_json(const std::vector<ReportSample>& samples) {
  ordered_json list = ordered_json::array();
  for (const ReportSample& sample : samples) {
    const bool photograph = sample.bytes.starts_with("\xff\xd8");
    list.push_back(
        {{"src", std::string("data:image/") + (photograph ? "jpeg" : "png") + ";base64," + base64(sample.bytes)},
         {"photograph", photograph},
         {"truth", sample.truth},
         {"predicted", sample.predicted},
         {"probability", sample.probability}});
  }
  return list;
}

ordered_json to_json(const Report& report) {
  ordered_json json = {{"title", report.title}, {"headline", report.headline}};
  if (report.metrics) json["metrics"] = to_json(*report.metrics);
  if (report.kernels) json["kernels"] = to_json(*report.kernels, report.tuning.has_value());
  if (report.tuning) {
    json["tuning"] = to_json(*report.tuning);
    json["macaque"] = {{"quartiles", {kMacaqueLowerQuartile, kMacaqueMedian, kMacaqueUpperQuartile}}};
  }
  if (!report.confusion.empty()) json["confusion"] = to_json(report.confusion, report);
  if (report.samples) {
    json["samples"] = {{"split", report.split},
                       {"wrong_in_all", report.samples->wrong_in_all},
                       {"right_in_all", report.samples->right_in_all},
                       {"wrong", to_json(report.samples->wrong)},
                       {"right", to_json(report.samples->right)}};
  }
  json["facts"] = report.facts;
  json["configuration"] = report.configuration;
  json["notes"] = report.notes;
  return json;
}

/// With every character that could end the element it stands in, or be read as markup, written another way.
std::string in_script(std::string_view json) {
  std::string text;
  for (const char c : json) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  return text;
}

std::string in_html(std::string_view plain) {
  std::string text;
  for (const char c : plain) {
    switch (c) {
      case '&':
        text += "&amp;";
        break;
      case '<':
        text += "&lt;";
        break;
      case '>':
        text += "&gt;";
        break;
      default:
        text += c;
    }
  }
  return text;
}

}  // namespace

std::string report_page(const Report& report) {
  // Names and configurations that are not UTF-8 must not cost the whole report.
  const std::string json = to_json(report).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  const std::pair<std::string_view, std::string> parts[] = {{"{{title}}", in_html(report.title)},
                                                            {"{{style}}", report_assets::kStyle},
                                                            {"{{data}}", in_script(json)},
                                                            {"{{script}}", report_assets::kScript}};
  std::string page;
  std::string_view rest = report_assets::kPage;
  for (const auto& [mark, text] : parts) {
    const size_t at = rest.find(mark);
    page += rest.substr(0, at);
    page += text;
    rest.remove_prefix(at + mark.size());
  }
  return page += rest;
}

}  // namespace striate
