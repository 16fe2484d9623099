//! Shader text: files of `shaders/` with `#import NAME` lines replaced by shared or generated parts.

use crate::engine::Family;
use crate::error::{Error, Result};

/// Everything that makes a pipeline: kernels with equal sources share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The file's stem.
    pub stem: &'static str,
    /// Text after imports.
    pub text: String,
    /// Entry point.
    pub entry: &'static str,
    /// `override` constants by name, as bits of an f64.
    pub constants: Vec<(&'static str, u64)>,
}

impl Source {
    /// The file `stem` with its imports: `generated` parts by name, all others from `shaders/shared/`.
    pub fn new(stem: &'static str, entry: &'static str, generated: &[(&str, String)]) -> Self {
        Self { stem, text: assemble(file(stem), generated), entry, constants: Vec::new() }
    }

    /// With an `override` constant.
    pub fn constant(mut self, name: &'static str, value: f64) -> Self {
        self.constants.push((name, value.to_bits()));
        self
    }
}

/// Terms that are added up as they come: of so many equal ones, rounding takes no more than a millionth.
pub const PLAIN: usize = 32;

macro_rules! files {
    ($($stem:literal)*) => {
        /// Stems of all files in `shaders/` and `shaders/shared/`.
        pub const STEMS: &[&str] = &[$($stem),*];

        fn file(stem: &str) -> &'static str {
            match stem {
                $($stem => include_str!(concat!("../../shaders/", $stem, ".wgsl")),)*
                _ => "",
            }
        }
    };
}

files! {
    "accumulate" "accuracy" "ceiling" "columns" "convolution" "cross_entropy" "dropout" "learn" "loop" "map"
    "matmul_exact" "matmul_plain" "matmul_software" "matmul_subgroup" "matmul_tiled" "noise" "norm" "pool" "reduce" "sample"
    "scan" "scan_chunks" "scan_combine" "softmax" "sparse" "transpose" "update"
    "shared/fold" "shared/functions" "shared/loop_product" "shared/matmul_lane" "shared/matmul_params" "shared/number"
    "shared/operand_a_scalar" "shared/operand_a_u64" "shared/operand_a_vec4"
    "shared/operand_b_scalar" "shared/operand_b_u64" "shared/operand_b_vec4"
    "shared/philox" "shared/result_scalar" "shared/result_vec4" "shared/row" "shared/segments"
    "shared/sums_exact" "shared/sums_plain"
    "shared/vector_f32" "shared/vector_u64" "shared/window"
}

/// How four floats are loaded fastest on a device: the text for `#import vector`.
pub fn vector(family: Family) -> String {
    part(if matches!(family, Family::Software { int64: true, .. }) { "vector_u64" } else { "vector_f32" })
}

/// How sums of so many terms are made: the text for `#import sums`.
pub fn sums(terms: usize) -> (&'static str, String) {
    ("sums", part(if terms > PLAIN { "sums_exact" } else { "sums_plain" }))
}

/// The text of a file in `shaders/shared/`, with its own imports, for a choice that the host makes.
pub fn part(name: &str) -> String {
    assemble(file(&format!("shared/{name}")), &[])
}

fn assemble(text: &str, generated: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        match line.strip_prefix("#import ") {
            Some(name) => {
                let name = name.trim();
                match generated.iter().find(|(n, _)| *n == name) {
                    Some((_, part)) => out.push_str(part),
                    None => out.push_str(&assemble(file(&format!("shared/{name}")), generated)),
                }
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Parses and validates a shader's text as a driver's front end would.
///
/// # Errors
/// [`Error::Shader`] with the place and reason.
pub fn validate(source: &Source) -> Result<naga::Module> {
    let invalid = |problem: String| Error::Shader { name: source.stem.to_string(), problem };
    let module = naga::front::wgsl::parse_str(&source.text)
        .map_err(|e| invalid(e.emit_to_string_with_path(&source.text, source.stem)))?;
    let capabilities = naga::valid::Capabilities::IMMEDIATES
        | naga::valid::Capabilities::SUBGROUP
        | naga::valid::Capabilities::SHADER_INT64;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|e| invalid(e.emit_to_string_with_path(&source.text, source.stem)))?;
    Ok(module)
}
