//! Values of a parameter file, converted to 32-bit floats.

use std::io::Read;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use crate::error::{Error, Result};

/// Reads `count` bytes, a number known to be within the file.
pub(super) fn read_bytes(path: &Path, file: &mut impl Read, count: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(count).is_err() {
        return Err(Error::file(path, format!("{count} bytes of it do not fit into memory")));
    }
    bytes.resize(count, 0);
    file.read_exact(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    Ok(bytes)
}

/// Reads the values of a tensor.
pub(super) fn read_values(
    path: &Path,
    file: &mut impl Read,
    name: &str,
    info: &TensorInfo,
) -> Result<Vec<f32>> {
    let (start, end) = info.data_offsets;
    // Check the type first, so that nothing is read for an unusable tensor.
    let convert: fn(&[u8], &mut Vec<f32>) = match info.dtype {
        Dtype::F32 => |bytes, to| each(bytes, to, f32::from_le_bytes),
        Dtype::F64 => |bytes, to| each(bytes, to, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => |bytes, to| each(bytes, to, |b| f16_to_f32(u16::from_le_bytes(b))),
        Dtype::BF16 => {
            |bytes, to| each(bytes, to, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))
        }
        other => {
            let problem = format!("tensor {name} is of type {other:?}; F32, F64, F16 and BF16 can be read");
            return Err(Error::file(path, problem));
        }
    };
    let bytes = read_bytes(path, file, end - start)?;
    let mut values = Vec::new();
    let count = bytes.len() * 8 / info.dtype.bitsize();
    if values.try_reserve_exact(count).is_err() {
        return Err(Error::file(path, format!("the {count} values of tensor {name} do not fit into memory")));
    }
    convert(&bytes, &mut values);
    if info.dtype == Dtype::F64 {
        for (value, wide) in values.iter().zip(bytes.as_chunks().0) {
            let wide = f64::from_le_bytes(*wide);
            if value.is_infinite() && wide.is_finite() {
                return Err(Error::file(
                    path,
                    format!("tensor {name} holds {wide:e}, too large for 32 bits"),
                ));
            }
        }
    }
    Ok(values)
}

/// Converts each group of `N` bytes.
fn each<const N: usize>(bytes: &[u8], to: &mut Vec<f32>, convert: impl Fn([u8; N]) -> f32) {
    to.extend(bytes.as_chunks().0.iter().map(|group| convert(*group)));
}

/// Converts IEEE 754 half precision exactly: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits.
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => fraction as f32 / (1 << 24) as f32,
        31 if fraction == 0 => f32::INFINITY,
        31 => f32::NAN,
        _ => f32::from_bits((exponent + (127 - 15)) << 23 | fraction << 13),
    };
    sign * magnitude
}
