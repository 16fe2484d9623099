//! One error type for the whole crate: each variant names what the user wrote and says what to do.

mod guard;
pub(crate) mod near;

use std::path::PathBuf;

pub(crate) use guard::{guarded, panic_text};

/// A short name for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, in the user's own terms.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two objects, values or arrays do not fit together.
    #[error("shape mismatch: {left} is {left_shape}, but {right} is {right_shape}{hint}")]
    Shape {
        /// The first object, as the user named it.
        left: String,
        /// Its shape.
        left_shape: String,
        /// The second object.
        right: String,
        /// Its shape.
        right_shape: String,
        /// What to do about it; empty, or starting with `; `.
        hint: String,
    },
    /// A name that no object of the network has.
    #[error("there is no {kind} named '{name}'{hint}; there is: {known}")]
    UnknownName {
        /// What was looked for: `object`, `parameter`, `state of 'a'`…
        kind: String,
        /// The unknown name.
        name: String,
        /// The names that exist, joined by commas; of many the first.
        known: String,
        /// The nearest of them in brackets, or empty.
        hint: String,
    },
    /// Two objects of one network with the same name.
    #[error("two objects are named '{name}'; names must be unique, rename one of them")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A cycle of connections in which no connection delays.
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
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Decoders that cannot be solved for.
    #[error("the decoders of {what} cannot be solved for: {problem}")]
    Solve {
        /// The connection or ensemble.
        what: String,
        /// Why, and what to do.
        problem: String,
    },
    /// A parameter is on the path of a loss, but an operator on that path has no gradient.
    #[error("{parameter} cannot be trained: {operator} on the path from the loss has no gradient{hint}")]
    NoGradient {
        /// The operator, by the object it came from.
        operator: String,
        /// The parameter.
        parameter: String,
        /// What to do about it; empty, or starting with `; `.
        hint: String,
    },
    /// A TOML file that does not say what it should; the message has line and column.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A file that cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create`…
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file whose content is not what its format or its use asks for.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the sizes found and expected.
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
        /// Keys that this network has and the file has not.
        missing: Vec<String>,
        /// Keys of the file that this network has not.
        unknown: Vec<String>,
        /// Keys of both, with both shapes.
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
        /// What to do.
        hint: String,
    },
    /// No device answers to the selector.
    #[error("no device '{selector}'; there is: {known}")]
    NoDevice {
        /// What was asked for.
        selector: String,
        /// The devices there are, joined by commas.
        known: String,
    },
    /// Something larger than the device can hold or bind.
    #[error("{what} needs {}, but {}; {hint}", bytes(*needed), allowed(device, *limit))]
    TooLarge {
        /// The buffer or value.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// The device's limit in bytes; 0 where it has none of its own, but no memory was left.
        limit: u64,
        /// The device's name.
        device: String,
        /// What to do.
        hint: String,
    },
    /// A loop of a shader that is longer than the device walks through, and that cannot be cut into several dispatches.
    #[error(
        "{what} needs {needed} turns of a lane's loops, but {device} leaves all loops after {limit}; make it smaller, or \
         run it on another device (--device cpu has no such limit)"
    )]
    TooLong {
        /// The operator and whose it is.
        what: String,
        /// Turns needed.
        needed: usize,
        /// Turns that the device allows.
        limit: usize,
        /// The device's name.
        device: String,
    },
    /// The device was lost, ran out of memory or refused a command.
    #[error("device {device}: {problem}")]
    Device {
        /// The device's name.
        device: String,
        /// What happened.
        problem: String,
    },
    /// A shader that naga refuses: a fault of this crate or of a generated expression.
    #[error("shader {name} is not valid: {problem}")]
    Shader {
        /// The shader's stem.
        name: String,
        /// naga's message.
        problem: String,
    },
    /// A callback or a tensor node of the user failed or panicked.
    #[error("{what} failed: {problem}")]
    Callback {
        /// Which one.
        what: String,
        /// Its message.
        problem: String,
    },
}

/// A number of bytes; one that overflows a `u64` is told as its bound.
fn bytes(needed: u64) -> String {
    match needed {
        u64::MAX => "more than 10^19 bytes".into(),
        needed => format!("{needed} bytes"),
    }
}

fn allowed(device: &str, limit: u64) -> String {
    match limit {
        0 => format!("{device} has not as much memory left"),
        limit => format!("{device} allows {limit}"),
    }
}

impl Error {
    /// A setting that cannot be used as it is.
    pub fn invalid(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), problem: problem.into() }
    }

    /// Two shapes that do not fit.
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

    /// A name that is not among `known`.
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

    /// A system error on a file.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }

    /// A file whose content is wrong.
    pub fn file(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::File { path: path.into(), problem: problem.into() }
    }
}
