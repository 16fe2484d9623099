//! Windows over images: the geometry that convolutions and pooling share, in up to three dimensions.
//!
//! An image is one row of a value, its channels last: element `((z * height + y) * width + x) * channels + c`. Images of
//! fewer dimensions have leading sizes of 1. Kernel element `o` of the window at `q` lies at `q * stride + o - before`.

use std::fmt::Write;
use std::ops::Range;

use crate::engine::turns;

/// Windows that slide over an image.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Window {
    /// Size of the image.
    pub image: [usize; 3],
    /// Size of the window.
    pub kernel: [usize; 3],
    /// Steps from one window to the next.
    pub stride: [usize; 3],
    /// Distance of the first window's start before the image; less than the kernel.
    pub before: [usize; 3],
    /// Number of windows.
    pub windows: [usize; 3],
}

impl Window {
    /// Points of the image.
    pub fn points(&self) -> usize {
        self.image.iter().product()
    }

    /// Number of windows.
    pub fn places(&self) -> usize {
        self.windows.iter().product()
    }

    /// Points of a window.
    pub fn area(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Along each axis, the most windows that hold a point.
    pub fn span(&self) -> [usize; 3] {
        [0, 1, 2].map(|i| self.kernel[i].div_ceil(self.stride[i]).min(self.windows[i]))
    }

    /// Turns of nested loops over `sizes` with `inside` turns in each.
    pub(super) fn nested(sizes: [usize; 3], inside: usize) -> usize {
        sizes.iter().rev().fold(inside, |inside, &n| turns::of(n, inside))
    }

    /// True if every window holds a point of the image.
    ///
    /// # Errors
    /// Which one does not.
    pub fn check(&self) -> Result<(), String> {
        let Self { image, kernel, stride, before, windows } = *self;
        for i in 0..3 {
            let last = windows[i].saturating_sub(1).checked_mul(stride[i]);
            let inside = last.is_some_and(|last| last < image[i] + before[i]) && before[i] < kernel[i];
            if !inside || windows[i] == 0 || stride[i] == 0 {
                return Err(format!("a window without points among {self:?}"));
            }
        }
        Ok(())
    }

    /// The geometry as constants of a shader.
    pub fn wgsl(&self) -> String {
        let mut text = String::new();
        for (name, [z, y, x]) in [
            ("IMAGE", self.image),
            ("KERNEL", self.kernel),
            ("STRIDE", self.stride),
            ("BEFORE", self.before),
            ("WINDOWS", self.windows),
            ("SPAN", self.span()),
        ] {
            let _ = writeln!(text, "const {name} = vec3<u32>({z}u, {y}u, {x}u);");
        }
        text
    }

    /// Along one axis, the kernel elements of window `q` that lie inside the image, and where the first one lies.
    pub fn inside(&self, axis: usize, q: usize) -> (Range<usize>, usize) {
        let first = q * self.stride[axis];
        let before = self.before[axis];
        let from = before.saturating_sub(first).min(self.kernel[axis]);
        let to = (self.image[axis] + before).saturating_sub(first).clamp(from, self.kernel[axis]);
        (from..to, (first + from).saturating_sub(before))
    }

    /// Calls `f(first kernel element, first point, length)` for each run of points of window `place` along the last axis
    /// that lies inside the image.
    pub fn runs(&self, place: usize, mut f: impl FnMut(usize, usize, usize)) {
        let [_, height, width] = self.windows;
        let (z, p_z) = self.inside(0, place / (height * width));
        let (y, p_y) = self.inside(1, place / width % height);
        let (x, p_x) = self.inside(2, place % width);
        for (i, k_z) in z.enumerate() {
            for (j, k_y) in y.clone().enumerate() {
                let element = (k_z * self.kernel[1] + k_y) * self.kernel[2] + x.start;
                let point = ((p_z + i) * self.image[1] + p_y + j) * self.image[2] + p_x;
                f(element, point, x.len());
            }
        }
    }

    /// Calls `f(place, kernel element, point)` for each window and each of its points inside the image: the definition.
    pub fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let unravel =
            |i: usize, size: [usize; 3]| [i / size[2] / size[1], i / size[2] % size[1], i % size[2]];
        for place in 0..self.places() {
            let q = unravel(place, self.windows);
            for element in 0..self.area() {
                let o = unravel(element, self.kernel);
                let at = [0, 1, 2].map(|i| (q[i] * self.stride[i] + o[i]).checked_sub(self.before[i]));
                if let [Some(z), Some(y), Some(x)] = at
                    && [z, y, x].iter().zip(self.image).all(|(&at, size)| at < size)
                {
                    f(place, element, (z * self.image[1] + y) * self.image[2] + x);
                }
            }
        }
    }

    /// Points of window `place` that lie inside the image.
    pub fn count(&self, place: usize) -> usize {
        let mut count = 0;
        self.runs(place, |_, _, n| count += n);
        count
    }
}
