//! Convolutions and pooling as a user describes them: images in, images out.

use serde::Deserialize;

use crate::network::Init;
use crate::op;
use crate::op::convolution::Form;
use crate::op::window::Window;

/// What happens at the edges of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Windows lie inside the image: `(size - kernel) / stride + 1` of them, rounded down.
    #[default]
    Valid,
    /// `size / stride` windows, rounded up: the image is thought to have zeros around it, on both sides as many, or one
    /// more behind.
    Same,
}

/// A convolution of images of one to three dimensions, as `nengo.Convolution` with its channels last.
///
/// Its parameter `CONNECTION/weights` has a row for each filter: `[n_filters, kernel elements * channels / groups]`, the
/// channels last in a row. Nengo's kernel, reshaped to `[-1, n_filters]`, is its transpose.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Convolution {
    /// Channels of the result.
    pub n_filters: usize,
    /// Size of the image and, last, its channels: `[28, 28, 1]`. One row of the pre object's output is such an image.
    pub input_shape: Vec<usize>,
    /// Size of the kernel; 3 in each dimension if not given.
    #[serde(default)]
    pub kernel_size: Option<Vec<usize>>,
    /// Steps of the kernel; 1 in each dimension if not given.
    #[serde(default)]
    pub strides: Option<Vec<usize>>,
    /// What happens at the edges.
    #[serde(default)]
    pub padding: Padding,
    /// Groups of channels with kernels of their own.
    #[serde(default = "one")]
    pub groups: usize,
    /// How the weights start. The fan-in of [`Init::He`] and [`Init::Glorot`] is what meets in one sum.
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
    /// `n_filters` kernels of 3 in each dimension over images of `input_shape`, channels last.
    pub fn new(n_filters: usize, input_shape: impl Into<Vec<usize>>) -> Self {
        let (input_shape, padding) = (input_shape.into(), Padding::Valid);
        let (kernel_size, strides) = (None, None);
        Self { n_filters, input_shape, kernel_size, strides, padding, groups: 1, init: Init::Glorot }
    }

    /// With kernels of another size.
    pub fn kernel_size(mut self, size: impl Into<Vec<usize>>) -> Self {
        self.kernel_size = Some(size.into());
        self
    }

    /// With other steps.
    pub fn strides(mut self, strides: impl Into<Vec<usize>>) -> Self {
        self.strides = Some(strides.into());
        self
    }

    /// With another rule for the edges.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// With groups of channels.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// With another start of the weights.
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// Size and channels of the result, as `input_shape`.
    ///
    /// # Errors
    /// What does not fit.
    pub fn output_shape(&self) -> Result<Vec<usize>, String> {
        let operator = self.operator()?;
        Ok(shape(operator.window.windows, self.n_filters, self.input_shape.len()))
    }

    /// Size and channels of the result of the transposed convolution, as `input_shape`.
    ///
    /// # Errors
    /// What does not fit.
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

    /// The same description as a transposed convolution: the adjoint of the convolution that makes an image of
    /// `input_shape` of its result, the smallest of which it does: `(size - 1) * stride + 1` large, and with
    /// [`Padding::Valid`] `kernel - 1` larger, as in Nengo.
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

    /// How the weights of an operator start.
    pub(super) fn start(&self, operator: &op::Convolution) -> Init {
        let op::Convolution { window, large, small, groups, form } = *operator;
        let (to_small, to_large) = (window.area() * large / groups, window.area() * small / groups);
        match form {
            Form::Transposed => self.init.for_fans(to_large, to_small),
            _ => self.init.for_fans(to_small, to_large),
        }
    }
}

/// One value for each window over an image and each of its channels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pool {
    /// What stands for a window; of a mean, only the points inside of the image count.
    pub of: PoolOf,
    /// Size of the image and, last, its channels.
    pub input_shape: Vec<usize>,
    /// Size of the windows; 2 in each dimension if not given.
    #[serde(default)]
    pub pool_size: Option<Vec<usize>>,
    /// Steps of the windows; their size if not given.
    #[serde(default)]
    pub strides: Option<Vec<usize>>,
    /// What happens at the edges.
    #[serde(default)]
    pub padding: Padding,
}

/// What stands for a window.
pub type PoolOf = op::pool::Of;

impl Pool {
    /// Means of windows of 2 in each dimension over images of `input_shape`, channels last.
    pub fn average(input_shape: impl Into<Vec<usize>>) -> Self {
        let (input_shape, of) = (input_shape.into(), PoolOf::Average);
        Self { of, input_shape, pool_size: None, strides: None, padding: Padding::Valid }
    }

    /// Maxima of such windows.
    pub fn max(input_shape: impl Into<Vec<usize>>) -> Self {
        Self { of: PoolOf::Max, ..Self::average(input_shape) }
    }

    /// With windows of another size.
    pub fn pool_size(mut self, size: impl Into<Vec<usize>>) -> Self {
        self.pool_size = Some(size.into());
        self
    }

    /// With other steps.
    pub fn strides(mut self, strides: impl Into<Vec<usize>>) -> Self {
        self.strides = Some(strides.into());
        self
    }

    /// With another rule for the edges.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Size and channels of the result, as `input_shape`.
    ///
    /// # Errors
    /// What does not fit.
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

/// The dimensions of an image, missing ones of size 1 first, and its channels.
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

/// The windows over an image of `large` channels that give one of `small` channels.
fn window(axes: [Axis; 3], padding: Padding, large: usize, small: usize) -> Result<Window, String> {
    let mut window = Window {
        image: axes.map(|a| a.size),
        kernel: axes.map(|a| a.kernel),
        // Longer steps than the image are all the same.
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
    // What 32-bit indices cannot reach, no device could hold.
    let size = |sizes: [usize; 3], n: usize| sizes.iter().try_fold(n, |a, &b| a.checked_mul(b));
    let weights = size(window.kernel, large).and_then(|n| n.checked_mul(small));
    let all = [size(window.image, large), size(window.windows, small), weights];
    if all.into_iter().all(|n| n.is_some_and(|n| n < u32::MAX as usize)) {
        return Ok(window);
    }
    Err("its images or weights are too large".into())
}

/// The last `n - 1` of three sizes, and the channels.
fn shape(sizes: [usize; 3], channels: usize, n: usize) -> Vec<usize> {
    sizes[4 - n..].iter().copied().chain([channels]).collect()
}
