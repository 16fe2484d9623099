//! Identities of operators.

use std::any::TypeId;
use std::hash::{Hash, Hasher};

/// Type and data of an operator: operators with equal identities compute the same, bit for bit.
///
/// The data are all that the operator gives to [`Hash`], in order. A number of type `f32` has no [`Hash`] and is written by
/// its bits, so that a constant cannot be left out by mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    of: TypeId,
    data: Vec<u8>,
}

impl Identity {
    /// Identity of an operator that consists of these data.
    pub fn of<T: Hash + 'static>(data: &T) -> Self {
        Self::some(TypeId::of::<T>(), data)
    }

    /// Identity of data that belong to type `of`.
    pub(crate) fn some(of: TypeId, data: &impl Hash) -> Self {
        let mut written = Written(Vec::new());
        data.hash(&mut written);
        Self { of, data: written.0 }
    }
}

/// Keeps the hashed bytes.
struct Written(Vec<u8>);

impl Hasher for Written {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// None: the bytes themselves are compared.
    fn finish(&self) -> u64 {
        0
    }
}
