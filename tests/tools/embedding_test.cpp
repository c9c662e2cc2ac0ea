#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "engine/random.h"
#include "kernels/error.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tools/experiments/embedding_figure.h"
#include "tools/experiments/pca.h"
#include "tools/experiments/tsne.h"

namespace striate {
namespace {

/// Three well-separated clouds in `dimensions`, point i in cloud i % 3.
std::vector<float> clouds(int64_t points, int64_t dimensions, float distance) {
  Random random(7, RandomPurpose::test);
  std::vector<float> values;
  for (int64_t i = 0; i < points; ++i) {
    for (int64_t d = 0; d < dimensions; ++d) values.push_back(random.normal() + (d == i % 3 ? distance : 0.0f));
  }
  return values;
}

TEST(Pca, FindsTheAxesOfAnEllipsoid) {
  // Deviations 5, 2 and 0.1 along the axes (3,4,0)/5, (−4,3,0)/5 and (0,0,1), about (10, −20, 30).
  Random random(1, RandomPurpose::test);
  constexpr int64_t kPoints = 4000;
  std::vector<float> values;
  for (int64_t i = 0; i < kPoints; ++i) {
    const float a = 5.0f * random.normal(), b = 2.0f * random.normal(), c = 0.1f * random.normal();
    values.insert(values.end(), {10.0f + 0.6f * a - 0.8f * b, -20.0f + 0.8f * a + 0.6f * b, 30.0f + c});
  }
  const PrincipalComponents pca = principal_components(values, kPoints, 3, 3);
  const float expected[9] = {0.6f, 0.8f, 0.0f, -0.8f, 0.6f, 0.0f, 0.0f, 0.0f, 1.0f};
  for (size_t k = 0; k < 3; ++k) {
    float dot = 0.0f;
    for (size_t d = 0; d < 3; ++d) dot += pca.axes[3 * k + d] * expected[3 * k + d];
    EXPECT_NEAR(std::abs(dot), 1.0f, 1e-3f) << k;  // 4000 points tell the axes to a hundredth of a radian
  }
  EXPECT_NEAR(pca.explained[0], 25.0 / 29.01, 0.01);
  EXPECT_NEAR(pca.explained[1], 4.0 / 29.01, 0.01);
  EXPECT_NEAR(pca.explained[0] + pca.explained[1] + pca.explained[2], 1.0, 1e-9);
  double mean = 0.0, squares = 0.0;
  for (int64_t i = 0; i < kPoints; ++i) {
    const double score = pca.scores[static_cast<size_t>(3 * i)];
    mean += score / kPoints, squares += score * score / kPoints;
  }
  EXPECT_NEAR(mean, 0.0, 1e-3);
  EXPECT_NEAR(std::sqrt(squares), 5.0, 0.15);
}

TEST(Pca, FewPointsOfManyDimensionsAndManyOfMany) {
  // Rank two by construction: two components explain everything, by whichever way they are found.
  Random random(2, RandomPurpose::test);
  for (const auto& [points, dimensions] : {std::pair<int64_t, int64_t>{20, 700}, {700, 20}, {600, 650}}) {
    std::vector<float> first, second, values;
    for (int64_t d = 0; d < dimensions; ++d) first.push_back(random.normal()), second.push_back(random.normal());
    for (int64_t i = 0; i < points; ++i) {
      const float a = 3.0f * random.normal(), b = random.normal();
      for (size_t d = 0; d < static_cast<size_t>(dimensions); ++d) values.push_back(a * first[d] + b * second[d]);
    }
    const PrincipalComponents pca = principal_components(values, points, dimensions, 4);
    EXPECT_EQ(pca.components, 4);
    EXPECT_NEAR(pca.explained[0] + pca.explained[1], 1.0, 1e-5) << points << "x" << dimensions;
    EXPECT_GT(pca.explained[0], 0.7);
    EXPECT_GT(pca.explained[1], 0.02);
    // Distances in the plane are those of the space.
    const auto squared = [&](const std::vector<float>& x, size_t width, size_t i, size_t j) {
      double sum = 0.0;
      for (size_t d = 0; d < width; ++d) sum += std::pow(double{x[i * width + d]} - x[j * width + d], 2);
      return sum;
    };
    const double far = squared(values, static_cast<size_t>(dimensions), 0, 1);
    EXPECT_NEAR(squared(pca.scores, 4, 0, 1), far, 1e-3 * far);
  }
}

TEST(Pca, EdgesAndErrors) {
  const PrincipalComponents same = principal_components({1, 2, 1, 2, 1, 2}, 3, 2, 5);
  EXPECT_EQ(same.components, 2);
  EXPECT_EQ(same.explained, (std::vector<double>{0, 0}));
  for (const float score : same.scores) EXPECT_EQ(score, 0.0f);
  EXPECT_THROW(principal_components({1, 2, 3}, 2, 2, 1), ShapeError);
  EXPECT_THROW(principal_components({1, NAN}, 2, 1, 1), Error);
}

TEST(Tsne, AffinitiesHaveTheirPerplexity) {
  constexpr int64_t kPoints = 60;
  const std::vector<float> values = clouds(kPoints, 5, 3.0f);
  const Affinities p = tsne_affinities(values, kPoints, 5, 10.0);
  double sum = 0.0;
  for (const double value : p.p) sum += value;
  EXPECT_NEAR(sum, 1.0, 1e-12);
  // Symmetric, nobody its own neighbour.
  const auto at = [&](int64_t i, int64_t j) {
    for (auto k = p.begin[static_cast<size_t>(i)]; k < p.begin[static_cast<size_t>(i) + 1]; ++k) {
      if (p.neighbour[static_cast<size_t>(k)] == j) return p.p[static_cast<size_t>(k)];
    }
    return 0.0;
  };
  for (int64_t i = 0; i < kPoints; ++i) {
    EXPECT_EQ(at(i, i), 0.0);
    for (int64_t j = 0; j < i; ++j) EXPECT_EQ(at(i, j), at(j, i));
  }
  // Four corners of a square and one far away: by hand, at perplexity 2 over both nearest neighbours, p_j|i = 1/2.
  const Affinities square = tsne_affinities({0, 0, 0, 1, 1, 1, 1, 0}, 4, 2, 2.0);
  EXPECT_NEAR(square.p[0], 1.0 / 8.0, 1e-3);  // (1/2 + 1/2)/(2·4) for a side
  EXPECT_THROW(tsne_affinities(values, kPoints, 5, 60.0), ShapeError);
  EXPECT_THROW(tsne_affinities({1, 2, 3}, 1, 3, 1.0), ShapeError);
}

/// KL(P‖Q) and its gradient by the definition, over all pairs.
double exact(const Affinities& p, const std::vector<double>& y, std::vector<double>* gradient) {
  const auto n = static_cast<size_t>(p.points());
  const auto q = [&](size_t i, size_t j) {
    const double dx = y[2 * i] - y[2 * j], dy = y[2 * i + 1] - y[2 * j + 1];
    return 1.0 / (1.0 + dx * dx + dy * dy);
  };
  double z = 0.0, divergence = 0.0;
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) z += i == j ? 0.0 : q(i, j);
  }
  std::vector<double> dense(n * n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    for (auto k = static_cast<size_t>(p.begin[i]); k < static_cast<size_t>(p.begin[i + 1]); ++k) {
      dense[i * n + static_cast<size_t>(p.neighbour[k])] = p.p[k];
    }
  }
  if (gradient != nullptr) gradient->assign(2 * n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      if (i == j) continue;
      const double share = q(i, j) / z, p_ij = dense[i * n + j];
      if (p_ij > 0.0) divergence += p_ij * std::log(p_ij / share);
      if (gradient == nullptr) continue;
      for (size_t a = 0; a < 2; ++a) {
        (*gradient)[2 * i + a] += 4.0 * (p_ij - share) * q(i, j) * (y[2 * i + a] - y[2 * j + a]);
      }
    }
  }
  return divergence;
}

TEST(Tsne, GradientIsThatOfTheDefinition) {
  constexpr int64_t kPoints = 40;
  const Affinities p = tsne_affinities(clouds(kPoints, 4, 4.0f), kPoints, 4, 8.0);
  Random random(3, RandomPurpose::test);
  std::vector<double> y;
  for (int64_t i = 0; i < 2 * kPoints; ++i) y.push_back(3.0 * random.normal());
  y[6] = y[4], y[7] = y[5];  // points that coincide,
  y[10] = y[4], y[11] = y[5];
  y[8] = y[4] + 1e-14;  // and one all but
  y[9] = y[5];
  std::vector<double> expected, found, near;
  const double divergence = exact(p, y, &expected);
  EXPECT_NEAR(tsne_gradient(p, y, 0.0, 1.0, found), divergence, 1e-12);
  double largest = 0.0;
  for (const double g : expected) largest = std::max(largest, std::abs(g));
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-12 * largest) << i;
  // Cells instead of points: a few percent of the largest component.
  EXPECT_NEAR(tsne_gradient(p, y, 0.5, 1.0, near), divergence, 0.02 * divergence);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(near[i], expected[i], 0.05 * largest) << i;
  EXPECT_NE(near, found) << "theta does something";
  // And it is the slope of the divergence.
  for (const size_t i : {size_t{0}, size_t{31}, size_t{79}}) {
    std::vector<double> moved = y;
    constexpr double kStep = 1e-5;
    moved[i] = y[i] + kStep;
    const double up = exact(p, moved, nullptr);
    moved[i] = y[i] - kStep;
    EXPECT_NEAR((up - exact(p, moved, nullptr)) / (2.0 * kStep), found[i], 1e-6 * largest + 1e-9) << i;
  }
}

TEST(Tsne, KeepsCloudsTogetherAndApart) {
  constexpr int64_t kPoints = 150;
  const std::vector<float> values = clouds(kPoints, 10, 12.0f);
  TsneOptions options;
  options.iterations = 400;
  options.perplexity = 15.0;
  int calls = 0;
  options.progress = [&](int done, int total) { return ++calls == done && total == 400; };
  const std::vector<float> plane = tsne(values, kPoints, 10, options);
  EXPECT_EQ(calls, 400);
  ASSERT_EQ(plane.size(), 2u * kPoints);
  // Every point's nearest neighbour in the plane is of its own cloud.
  for (int64_t i = 0; i < kPoints; ++i) {
    int64_t nearest = -1;
    double least = 1e30;
    for (int64_t j = 0; j < kPoints; ++j) {
      const double dx = double{plane[static_cast<size_t>(2 * i)]} - plane[static_cast<size_t>(2 * j)];
      const double dy = double{plane[static_cast<size_t>(2 * i) + 1]} - plane[static_cast<size_t>(2 * j) + 1];
      if (i != j && dx * dx + dy * dy < least) least = dx * dx + dy * dy, nearest = j;
    }
    EXPECT_EQ(nearest % 3, i % 3) << i;
  }
  options.progress = {};
  EXPECT_EQ(tsne(values, kPoints, 10, options), plane) << "the same bits again";
  options.seed = 1;
  EXPECT_NE(tsne(values, kPoints, 10, options), plane);
}

TEST(Tsne, PointsThatCoincideAndFewOnes) {
  const std::vector<float> plane = tsne(std::vector<float>(40, 1.5f), 20, 2, {.iterations = 60});
  for (const float value : plane) EXPECT_TRUE(std::isfinite(value));
  EXPECT_EQ(tsne({0, 1, 5}, 3, 1, {.iterations = 30}).size(), 6u);
}

class EmbeddingFigure : public testing::TestWithParam<int> {};

TEST_P(EmbeddingFigure, ShowsEveryClass) {
  test::TempDir folder;
  const int classes = GetParam();
  std::vector<float> points;
  std::vector<int32_t> labels;
  std::vector<std::string> names;
  for (int c = 0; c < classes; ++c) names.push_back("white wolf, Arctic wolf, Canis lupus " + std::to_string(c));
  for (int i = 0; i < 3 * classes; ++i) {
    labels.push_back(i % classes);
    points.push_back(static_cast<float>(i)), points.push_back(static_cast<float>(i * i % 17));
  }
  const auto file = folder / "embedding.png";
  draw_embedding({{"PCA", "x", "y", points}, {"t-SNE", "x", "y", points}}, labels, names, "title", "subtitle", file);
  const test::Picture picture = test::Picture::read(file);
  EXPECT_GT(picture.width, 1800);
  if (classes <= 20) {
    EXPECT_GT(picture.count(0x0072B2), 200);
    EXPECT_EQ(picture.count(0xD55E00) > 200, classes > 1);
  } else {
    EXPECT_GT(picture.count(0x440154), 20) << "the scale's dark end";
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, EmbeddingFigure, testing::Values(1, 2, 10, 20, 1000),
                         testing::PrintToStringParamName());

TEST(EmbeddingFigureErrors, NameWhatContradicts) {
  test::TempDir folder;
  const auto file = folder / "x.png";
  EXPECT_THROW(draw_embedding({}, {0}, {"a"}, "", "", file), ShapeError);
  EXPECT_THROW(draw_embedding({{"", "", "", {1, 2}}}, {0, 0}, {"a"}, "", "", file), ShapeError);
  EXPECT_THROW(draw_embedding({{"", "", "", {1, 2}}}, {1}, {"a"}, "", "", file), ShapeError);
  EXPECT_THROW(draw_embedding({{"", "", "", {1, 2}}}, {-1}, {"a"}, "", "", file), ShapeError);
}

}  // namespace
}  // namespace striate
