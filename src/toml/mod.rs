//! Networks, data and trainings as TOML files, and messages in the words of the file.

pub mod data;
pub mod network;
pub mod read;
pub mod split;
pub mod train;

pub use data::DataSpec;
pub use network::NetworkSpec;
pub use split::{Part, SplitSpec};
pub use train::TrainSpec;
