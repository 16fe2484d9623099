//! TOML files for networks, data and training, with errors in terms of the file.

mod data;
#[doc(hidden)]
pub mod network;
pub(crate) mod read;
mod split;
#[doc(hidden)]
pub mod train;

pub use data::DataSpec;
pub use network::NetworkSpec;
pub use split::{Part, SplitSpec};
pub use train::TrainSpec;
