//! Kinds of errors.

use crate::error::Error;

/// Kind of an [`Error`], for callers that treat errors by their cause.
///
/// ```
/// use nengo_wgpu::{Device, Error, ErrorKind};
///
/// let device = Device::select("no such adapter").or_else(|error: Error| match error.kind() {
///     // Without this adapter, run on the CPU.
///     ErrorKind::Device => Ok(Device::cpu()),
///     _ => Err(error),
/// })?;
/// assert_eq!(device.name(), "cpu");
///
/// let error = nengo_wgpu::network::Network::new(0).find("hidden").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Validation);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something that the caller wrote is not valid: a name, a shape, a setting, a TOML file.
    Validation,
    /// A valid network cannot be built or differentiated.
    Build,
    /// A run failed: a value is not finite, or a callback failed.
    Simulation,
    /// The device is not available, failed, or is too small.
    Device,
    /// A file cannot be read or written, or has the wrong content.
    Io,
}

impl Error {
    /// Kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Shape { .. }
            | Self::UnknownName { .. }
            | Self::DuplicateName { .. }
            | Self::Invalid { .. }
            | Self::Toml { .. } => ErrorKind::Validation,
            Self::CycleWithoutDelay { .. }
            | Self::Solve { .. }
            | Self::NoGradient { .. }
            | Self::Shader { .. } => ErrorKind::Build,
            Self::NotFinite { .. } | Self::Callback { .. } => ErrorKind::Simulation,
            Self::NoDevice { .. } | Self::Device { .. } | Self::TooLarge { .. } | Self::TooLong { .. } => {
                ErrorKind::Device
            }
            Self::Io { .. } | Self::File { .. } | Self::OtherNetwork { .. } => ErrorKind::Io,
        }
    }
}
