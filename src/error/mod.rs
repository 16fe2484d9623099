//! The error type of the crate. Messages name what the user wrote, and say what to do.

mod guard;
mod kind;
pub(crate) mod near;

use std::path::PathBuf;

pub(crate) use guard::{guarded, panic_text};
pub use kind::ErrorKind;

/// Result of a function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of a function of this crate. [`Error::kind`] groups the variants.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes of two objects, values or arrays that do not match.
    #[error("shape mismatch: {left} is {left_shape}, but {right} is {right_shape}{hint}")]
    Shape {
        /// The first object, as the user named it.
        left: String,
        /// Shape of the first object.
        left_shape: String,
        /// The second object.
        right: String,
        /// Shape of the second object.
        right_shape: String,
        /// Advice; empty, or starting with `; `.
        hint: String,
    },
    /// A name that no object of the network has.
    #[error("there is no {kind} named '{name}'{hint}; there is: {known}")]
    UnknownName {
        /// Kind of the named thing: `object`, `parameter`, `state of 'a'`…
        kind: String,
        /// The unknown name.
        name: String,
        /// Valid names, joined by commas; of more than 30 the first 30.
        known: String,
        /// Suggestion of the nearest valid name in brackets, or empty.
        hint: String,
    },
    /// Two objects of a network with the same name.
    #[error("two objects are named '{name}'; names must be unique, rename one of them")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A cycle of connections without a delay.
    #[error(
        "the cycle {} has no delay, so a step would need its own result; put a synapse on one of its connections",
        objects.join(" -> ")
    )]
    CycleWithoutDelay {
        /// The objects on the cycle, in order.
        objects: Vec<String>,
    },
    /// A setting out of its range, or two settings that exclude each other.
    #[error("{what}: {problem}")]
    Invalid {
        /// The object or setting.
        what: String,
        /// The problem, and what would be valid.
        problem: String,
    },
    /// Decoders that cannot be solved for.
    #[error("the decoders of {what} cannot be solved for: {problem}")]
    Solve {
        /// The connection or ensemble.
        what: String,
        /// The reason, and what to do.
        problem: String,
    },
    /// An operator without a gradient on the path from a loss to a parameter.
    #[error("{parameter} cannot be trained: {operator} on the path from the loss has no gradient{hint}")]
    NoGradient {
        /// The operator, by the object it came from.
        operator: String,
        /// The parameter.
        parameter: String,
        /// Advice; empty, or starting with `; `.
        hint: String,
    },
    /// An error in a TOML file.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The problem.
        message: String,
    },
    /// A file that cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create`…
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A file whose content does not match its format or its use.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The problem, with the sizes found and expected.
        problem: String,
    },
    /// A parameter or checkpoint file of another network.
    #[error(
        "{} is of another network: missing [{}], unknown [{}], of another shape [{}]",
        path.display(), missing.join(", "), unknown.join(", "), shapes.join(", ")
    )]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// Keys of the network that the file lacks.
        missing: Vec<String>,
        /// Keys of the file that the network lacks.
        unknown: Vec<String>,
        /// Keys with different shapes, with both shapes.
        shapes: Vec<String>,
    },
    /// A value that is not a finite number.
    #[error("{what} is {value} at step {step}; {hint}")]
    NotFinite {
        /// The probe, loss or data array.
        what: String,
        /// `NaN` or `inf`.
        value: f32,
        /// The training or time step, from 0.
        step: u64,
        /// Advice.
        hint: String,
    },
    /// No device matches the selector.
    #[error("no device '{selector}'; there is: {known}")]
    NoDevice {
        /// The selector.
        selector: String,
        /// Available devices, joined by commas.
        known: String,
    },
    /// A buffer or value larger than the device can hold or bind.
    #[error("{what} needs {}, but {}; {hint}", bytes(*needed), allowed(device, *limit))]
    TooLarge {
        /// The buffer or value.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// Limit in bytes; 0 if no memory is left on a device without a limit.
        limit: u64,
        /// The device's name.
        device: String,
        /// Advice.
        hint: String,
    },
    /// A loop of a shader with more iterations than the device allows, which cannot be split into several dispatches.
    #[error(
        "{what} needs {needed} loop iterations per invocation, but {device} stops all loops after {limit}; make it smaller, \
         or run it on another device (--device cpu has no such limit)"
    )]
    TooLong {
        /// The operator and its object.
        what: String,
        /// Loop iterations needed.
        needed: usize,
        /// Loop iterations that the device allows.
        limit: usize,
        /// The device's name.
        device: String,
    },
    /// A device that was lost, ran out of memory or rejected a command.
    #[error("device {device}: {problem}")]
    Device {
        /// The device's name.
        device: String,
        /// The problem.
        problem: String,
    },
    /// A shader that is not valid: a bug of this crate, or of a generated expression.
    #[error("shader {name} is not valid: {problem}")]
    Shader {
        /// The shader's stem.
        name: String,
        /// naga's message.
        problem: String,
    },
    /// A callback or tensor node of the user that failed or panicked.
    #[error("{what} failed: {problem}")]
    Callback {
        /// The callback.
        what: String,
        /// Its message.
        problem: String,
    },
}

/// A number of bytes as text. `u64::MAX` stands for a number that overflows.
fn bytes(needed: u64) -> String {
    match needed {
        u64::MAX => "more than 10^19 bytes".into(),
        needed => format!("{needed} bytes"),
    }
}

/// The limit of a device as text.
fn allowed(device: &str, limit: u64) -> String {
    match limit {
        0 => format!("{device} has not as much memory left"),
        limit => format!("{device} allows {limit}"),
    }
}

impl Error {
    /// Creates [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), problem: problem.into() }
    }

    /// Creates [`Error::Shape`] without a hint.
    pub fn shape(
        left: impl Into<String>,
        left_shape: impl std::fmt::Display,
        right: impl Into<String>,
        right_shape: impl std::fmt::Display,
    ) -> Self {
        Self::Shape {
            left: left.into(),
            left_shape: left_shape.to_string(),
            right: right.into(),
            right_shape: right_shape.to_string(),
            hint: String::new(),
        }
    }

    /// Creates [`Error::UnknownName`]. The message lists the names in `known`, and suggests the nearest.
    pub fn unknown<'a>(
        kind: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        const MANY: usize = 30;
        let known: Vec<&str> = known.into_iter().collect();
        let hint = crate::error::near::hint(name, known.iter().copied());
        let known = match known.len() {
            0 => "none".to_string(),
            n if n > MANY => format!("{} and {} more", known[..MANY].join(", "), n - MANY),
            _ => known.join(", "),
        };
        Self::UnknownName { kind: kind.into(), name: name.to_string(), known, hint }
    }

    /// Creates [`Error::Io`].
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }

    /// Creates [`Error::File`].
    pub fn file(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::File { path: path.into(), problem: problem.into() }
    }
}
