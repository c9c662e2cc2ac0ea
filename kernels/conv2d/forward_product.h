#pragma once

#include "kernels/conv2d/winograd_choice.h"
#include "kernels/gemm/product.h"
#include "kernels/shapes.h"

/// How the convolutions of cpu turn into products.
namespace striate::cpu {

template <typename T>
gemm::Patches<T> input_patches(const T* x, const Conv2dShape& shape) {
  gemm::Patches<T> p;
  p.image = x;
  p.N = shape.N, p.H = shape.H, p.W = shape.W;
  p.channels = shape.group_channels(), p.pixel_stride = shape.C;
  p.P = shape.P(), p.Q = shape.Q(), p.R = shape.R, p.S = shape.S;
  p.step_h = shape.stride_h, p.step_w = shape.stride_w;
  p.origin_h = -shape.pad_h, p.origin_w = -shape.pad_w;
  p.tap_h = shape.dilation_h, p.tap_w = shape.dilation_w;
  return p;
}

/// A kernel that covers the whole image is a matrix product: one pixel of R·S·C channels.
inline Conv2dShape as_product(Conv2dShape shape) {
  if (!covers_image(shape)) return shape;
  shape.C *= shape.R * shape.S;
  shape.H = shape.W = shape.R = shape.S = shape.stride_h = shape.stride_w = 1;
  return shape;
}

/// The direct sums of the forward direction, of as_product()'s shape.
template <typename T>
gemm::Product<T> forward_product(const T* x, const T* w, const float* b, T* y, const Conv2dShape& shape,
                                 Activation activation) {
  gemm::Product<T> product;
  product.a = input_patches(x, shape);
  product.w.w = w;
  product.w.stride = shape.taps();
  product.columns = shape.group_kernels();
  product.c = y;
  product.c_pixel_stride = shape.K;
  product.c_row_stride = shape.Q() * shape.K;
  product.c_image_stride = shape.P() * shape.Q() * shape.K;
  product.bias = b;
  product.activation = activation;
  product.groups = shape.groups;
  product.a_group = shape.group_channels();
  product.w_group = shape.group_kernels() * shape.taps();
  product.c_group = shape.group_kernels();
  return product;
}

}  // namespace striate::cpu
