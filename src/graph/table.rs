//! Constant words that kernels read, such as the indices of a gather.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Constant words of an operator, uploaded once before the first run. Clones share the memory, and only they are equal:
/// comparing the words of large tables would cost more than it finds.
#[derive(Clone)]
pub struct Table(Arc<[u32]>);

impl Table {
    /// A table of these words.
    pub fn new(words: Vec<u32>) -> Self {
        Self(words.into())
    }

    /// The words.
    pub fn words(&self) -> &[u32] {
        &self.0
    }

    /// The words as the floats of a buffer with the same bits.
    pub fn floats(&self) -> Vec<f32> {
        self.0.iter().map(|&word| f32::from_bits(word)).collect()
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Table {}

impl Hash for Table {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.0.as_ptr().hash(to);
    }
}

/// Its length and place.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} words at {:p})", self.0.len(), self.0)
    }
}
