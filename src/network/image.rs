//! Convolutions and pooling of images.

use serde::Deserialize;

use crate::network::Init;
use crate::op;
use crate::op::convolution::Form;
use crate::op::window::Window;

/// Treatment of an image's edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Windows lie inside the image: `(size - kernel) / stride + 1` of them, rounded down.
    #[default]
    Valid,
    /// `size / stride` windows, rounded up. Zeros surround the image, as many on both sides, or one more at the end.
    Same,
}

/// A convolution of images of one to three dimensions, like `nengo.Convolution` with channels last.
///
/// Its parameter `CONNECTION/weights` has a row per filter: `[n_filters, kernel elements * channels / groups]`, with channels
/// last in a row. It is the transpose of Nengo's kernel reshaped to `[-1, n_filters]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Convolution {
    /// Channels of the output.
    pub n_filters: usize,
    /// Size of the image, then its channels: `[28, 28, 1]`. One row of the pre object's output is one image.
    pub input_shape: Vec<usize>,
    /// Size of the kernel; 3 in each dimension by default.
    #[serde(default)]
    pub kernel_size: Option<Vec<usize>>,
    /// Strides of the kernel; 1 in each dimension by default.
    #[serde(default)]
    pub strides: Option<Vec<usize>>,
    /// Treatment of the edges; [`Padding::Valid`] by default.
    #[serde(default)]
    pub padding: Padding,
    /// Number of channel groups, each with its own kernels; 1 by default.
    #[serde(default = "one")]
    pub groups: usize,
    /// Initial weights; [`Init::Glorot`] by default. The fan-in of [`Init::He`] and [`Init::Glorot`] is the number of terms in
    /// one sum.
    #[serde(default = "glorot")]
    pub init: Init,
}

fn one() -> usize {
    1
}

fn glorot() -> Init {
    Init::Glorot
}

impl Convolution {
    /// `n_filters` kernels of size 3 in each dimension, over images of `input_shape` with channels last.
    pub fn new(n_filters: usize, input_shape: impl Into<Vec<usize>>) -> Self {
        let (input_shape, padding) = (input_shape.into(), Padding::Valid);
        let (kernel_size, strides) = (None, None);
        Self { n_filters, input_shape, kernel_size, strides, padding, groups: 1, init: Init::Glorot }
    }

    /// Sets the kernel size.
    pub fn kernel_size(mut self, size: impl Into<Vec<usize>>) -> Self {
        self.kernel_size = Some(size.into());
        self
    }

    /// Sets the strides.
    pub fn strides(mut self, strides: impl Into<Vec<usize>>) -> Self {
        self.strides = Some(strides.into());
        self
    }

    /// Sets the treatment of the edges.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Sets the number of channel groups.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Sets the initial weights.
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// Size and channels of the output, in the form of `input_shape`.
    ///
    /// # Errors
    /// A description of sizes that do not fit.
    pub fn output_shape(&self) -> Result<Vec<usize>, String> {
        let operator = self.operator()?;
        Ok(shape(operator.window.windows, self.n_filters, self.input_shape.len()))
    }

    /// Size and channels of the transposed convolution's output, in the form of `input_shape`.
    ///
    /// # Errors
    /// A description of sizes that do not fit.
    pub fn output_shape_transposed(&self) -> Result<Vec<usize>, String> {
        let operator = self.transposed()?;
        Ok(shape(operator.window.image, self.n_filters, self.input_shape.len()))
    }

    fn axes(&self) -> Result<([Axis; 3], usize), String> {
        let (axes, channels) =
            axes(&self.input_shape, self.kernel_size.as_deref(), 3, self.strides.as_deref())?;
        let groups = self.groups;
        let whole = |n: usize| groups > 0 && n > 0 && n.is_multiple_of(groups);
        if !whole(channels) || !whole(self.n_filters) {
            let filters = self.n_filters;
            return Err(format!("{channels} channels and {filters} filters cannot be in {groups} groups"));
        }
        Ok((axes, channels))
    }

    pub(super) fn operator(&self) -> Result<op::Convolution, String> {
        let (axes, large) = self.axes()?;
        let (small, groups, form) = (self.n_filters, self.groups, Form::Forward);
        let window = window(axes, self.padding, large, small)?;
        Ok(op::Convolution { window, large, small, groups, form })
    }

    /// The transposed convolution: the adjoint of the convolution that maps its output to an image of `input_shape`. Of all
    /// such outputs it is the smallest: `(size - 1) * stride + 1`, plus `kernel - 1` with [`Padding::Valid`], as in Nengo.
    pub(super) fn transposed(&self) -> Result<op::Convolution, String> {
        let (axes, small) = self.axes()?;
        let sizes = axes.map(|a| {
            let last = if self.padding == Padding::Valid { a.kernel } else { 1 };
            (a.size - 1).checked_mul(a.stride).and_then(|n| n.checked_add(last))
        });
        let [Some(z), Some(y), Some(x)] = sizes else { return Err("its result is too large".into()) };
        let larger = std::array::from_fn(|i| Axis { size: [z, y, x][i], ..axes[i] });
        let (large, groups, form) = (self.n_filters, self.groups, Form::Transposed);
        let window = window(larger, self.padding, large, small)?;
        Ok(op::Convolution { window, large, small, groups, form })
    }

    /// Initial weights of an operator.
    pub(super) fn start(&self, operator: &op::Convolution) -> Init {
        let op::Convolution { window, large, small, groups, form } = *operator;
        let (to_small, to_large) = (window.area() * large / groups, window.area() * small / groups);
        match form {
            Form::Transposed => self.init.for_fans(to_large, to_small),
            _ => self.init.for_fans(to_small, to_large),
        }
    }
}

/// Pooling: one value for each window and channel of an image.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pool {
    /// Reduction of a window. A mean counts only the points inside the image.
    pub of: PoolOf,
    /// Size of the image, then its channels.
    pub input_shape: Vec<usize>,
    /// Size of the windows; 2 in each dimension by default.
    #[serde(default)]
    pub pool_size: Option<Vec<usize>>,
    /// Strides of the windows; their size by default.
    #[serde(default)]
    pub strides: Option<Vec<usize>>,
    /// Treatment of the edges; [`Padding::Valid`] by default.
    #[serde(default)]
    pub padding: Padding,
}

/// Reduction of a window: mean or maximum.
pub type PoolOf = op::pool::Of;

impl Pool {
    /// Means over windows of size 2 in each dimension, for images of `input_shape` with channels last.
    pub fn average(input_shape: impl Into<Vec<usize>>) -> Self {
        let (input_shape, of) = (input_shape.into(), PoolOf::Average);
        Self { of, input_shape, pool_size: None, strides: None, padding: Padding::Valid }
    }

    /// Maxima over such windows.
    pub fn max(input_shape: impl Into<Vec<usize>>) -> Self {
        Self { of: PoolOf::Max, ..Self::average(input_shape) }
    }

    /// Sets the window size.
    pub fn pool_size(mut self, size: impl Into<Vec<usize>>) -> Self {
        self.pool_size = Some(size.into());
        self
    }

    /// Sets the strides.
    pub fn strides(mut self, strides: impl Into<Vec<usize>>) -> Self {
        self.strides = Some(strides.into());
        self
    }

    /// Sets the treatment of the edges.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Size and channels of the output, in the form of `input_shape`.
    ///
    /// # Errors
    /// A description of sizes that do not fit.
    pub fn output_shape(&self) -> Result<Vec<usize>, String> {
        let op::Pool { window, channels, .. } = self.operator()?;
        Ok(shape(window.windows, channels, self.input_shape.len()))
    }

    pub(super) fn operator(&self) -> Result<op::Pool, String> {
        let size = self.pool_size.as_deref();
        let (axes, channels) = axes(&self.input_shape, size, 2, self.strides.as_deref().or(size))?;
        let axes = match (&self.strides, size) {
            (None, None) => axes.map(|a| Axis { stride: a.kernel, ..a }),
            _ => axes,
        };
        Ok(op::Pool { window: window(axes, self.padding, channels, channels)?, channels, of: self.of })
    }
}

/// One dimension of an image.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    kernel: usize,
    stride: usize,
}

/// The dimensions of an image, padded in front with dimensions of size 1, and its channels.
fn axes(
    input: &[usize],
    kernel: Option<&[usize]>,
    default: usize,
    strides: Option<&[usize]>,
) -> Result<([Axis; 3], usize), String> {
    let [sizes @ .., channels] = input else { return Err("its input shape is empty".into()) };
    let n = sizes.len();
    if !(1..=3).contains(&n) {
        return Err(format!("its input shape {input:?} is not one to three sizes and then the channels"));
    }
    let (kernel, strides) = (
        kernel.map_or_else(|| vec![default; n], <[usize]>::to_vec),
        strides.map_or_else(|| vec![1; n], <[usize]>::to_vec),
    );
    for (what, list) in [("kernel", &kernel), ("strides", &strides)] {
        if list.len() != n {
            return Err(format!(
                "its {what} {list:?} should be {n} numbers, as its input shape is {input:?}"
            ));
        }
    }
    if input.iter().chain(&kernel).chain(&strides).any(|&i| i == 0) {
        return Err(format!(
            "input shape {input:?}, kernel {kernel:?} and strides {strides:?} must be at least 1"
        ));
    }
    let mut axes = [Axis { size: 1, kernel: 1, stride: 1 }; 3];
    for i in 0..n {
        axes[3 - n + i] = Axis { size: sizes[i], kernel: kernel[i], stride: strides[i] };
    }
    Ok((axes, *channels))
}

/// The windows over an image of `large` channels whose output has `small` channels.
fn window(axes: [Axis; 3], padding: Padding, large: usize, small: usize) -> Result<Window, String> {
    let mut window = Window {
        image: axes.map(|a| a.size),
        kernel: axes.map(|a| a.kernel),
        // Strides beyond the image are all equivalent.
        stride: axes.map(|a| a.stride.min(a.size)),
        before: [0; 3],
        windows: [1; 3],
    };
    for (i, Axis { size, kernel, stride }) in axes.into_iter().enumerate() {
        if padding == Padding::Same {
            window.windows[i] = size.div_ceil(stride);
            let covered = (window.windows[i] - 1).saturating_mul(stride).saturating_add(kernel);
            window.before[i] = covered.saturating_sub(size) / 2;
        } else if kernel <= size {
            window.windows[i] = (size - kernel) / stride + 1;
        } else {
            return Err(format!(
                "a kernel of {kernel} does not fit into {size}; make it smaller or pad the image"
            ));
        }
    }
    // Images beyond 32-bit indices fit no device.
    let size = |sizes: [usize; 3], n: usize| sizes.iter().try_fold(n, |a, &b| a.checked_mul(b));
    let weights = size(window.kernel, large).and_then(|n| n.checked_mul(small));
    let all = [size(window.image, large), size(window.windows, small), weights];
    if all.into_iter().all(|n| n.is_some_and(|n| n < u32::MAX as usize)) {
        return Ok(window);
    }
    Err("its images or weights are too large".into())
}

/// The last `n - 1` of three sizes, then the channels.
fn shape(sizes: [usize; 3], channels: usize, n: usize) -> Vec<usize> {
    sizes[4 - n..].iter().copied().chain([channels]).collect()
}
