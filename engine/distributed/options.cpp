#include "engine/distributed/options.h"

#include <cmath>

#include "engine/config.h"
#include "kernels/error.h"

namespace striate {

std::string to_string(Scheme scheme) {
  return scheme == Scheme::none ? "none" : scheme == Scheme::data ? "data" : "one_weird_trick";
}

DistributedOptions DistributedOptions::parse(ConfigReader distributed) {
  DistributedOptions o;
  const std::string name = distributed.choice("scheme", "none", {"none", "data", "one_weird_trick"});
  for (const Scheme scheme : {Scheme::none, Scheme::data, Scheme::one_weird_trick}) {
    if (to_string(scheme) == name) o.scheme = scheme;
  }
  constexpr double kMegabyte = 1 << 20;
  const double bucket = distributed.get("bucket_mb", static_cast<double>(o.bucket_bytes) / kMegabyte);
  require<ConfigError>(bucket > 0.0 && bucket <= 1024.0, "{}: {}, expected more than 0 and 1024 or less",
                       distributed.where("bucket_mb"), bucket);
  o.bucket_bytes = std::llround(std::ceil(bucket * kMegabyte));
  o.reduce = distributed.choice("reduce", "fp32", {"fp32", "bf16"}) == "fp32" ? WireType::float32 : WireType::bfloat16;
  o.sync_batch_norm = distributed.choice("batch_norm", "local", {"local", "sync"}) == "sync";
  o.rounds = distributed.get("rounds", o.rounds);
  require<ConfigError>(o.rounds >= 0, "{}: {}, expected 0 (as many as there are ranks) or more",
                       distributed.where("rounds"), o.rounds);
  const std::string scaling = distributed.choice("rate_scaling", "none", {"none", "linear", "sqrt"});
  o.rate_scaling = scaling == "none"     ? RateScaling::none
                   : scaling == "linear" ? RateScaling::linear
                                         : RateScaling::sqrt;
  distributed.finish();
  return o;
}

double DistributedOptions::rate_factor(int ranks) const {
  if (rate_scaling == RateScaling::none) return 1.0;
  return rate_scaling == RateScaling::linear ? ranks : std::sqrt(static_cast<double>(ranks));
}

std::string DistributedOptions::fixed_by_resume() const {
  std::string text;
  if (sync_batch_norm) text += "distributed.batch_norm=sync\n";
  if (rate_scaling != RateScaling::none) {
    text += std::string("distributed.rate_scaling=") + (rate_scaling == RateScaling::linear ? "linear\n" : "sqrt\n");
  }
  return text;
}

}  // namespace striate
