//! Lists with members found by name in constant time.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use crate::network::{Link, Object, ParameterDef, ProbeSpec};

/// An object with a fixed name.
pub(crate) trait Called {
    /// The name.
    fn called(&self) -> &str;
}

macro_rules! called {
    ($($kind:ty)*) => {
        $(impl Called for $kind {
            fn called(&self) -> &str {
                &self.name
            }
        })*
    };
}
called!(Object Link ProbeSpec ParameterDef);

/// A list of members found by name.
#[derive(Clone)]
pub(crate) struct Index<T> {
    list: Vec<T>,
    places: HashMap<String, usize>,
    /// Last number given by [`Index::numbered`], by base name.
    numbers: HashMap<String, usize>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { list: Vec::new(), places: HashMap::new(), numbers: HashMap::new() }
    }
}

impl<T: Called> Index<T> {
    /// The index of a name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The name itself, or if it is taken the first free one of `NAME#2`, `NAME#3` and so on.
    pub fn numbered(&mut self, name: String) -> String {
        if !self.places.contains_key(&name) {
            return name;
        }
        let first = self.numbers.get(&name).copied().unwrap_or(2);
        let free = (first..).find(|k| !self.places.contains_key(&format!("{name}#{k}")));
        let number = free.unwrap_or(first);
        let numbered = format!("{name}#{number}");
        self.numbers.insert(name, number);
        numbered
    }

    /// Appends a member.
    pub fn push(&mut self, member: T) {
        self.places.entry(member.called().to_string()).or_insert(self.list.len());
        self.list.push(member);
    }

    /// Keeps the first `len` members.
    pub fn truncate(&mut self, len: usize) {
        for member in self.list.drain(len.min(self.list.len())..) {
            if self.places.get(member.called()).is_some_and(|at| *at >= len) {
                self.places.remove(member.called());
            }
        }
        self.numbers.clear();
    }
}

impl<T> Deref for Index<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.list
    }
}

impl<T> DerefMut for Index<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.list
    }
}

impl<'a, T> IntoIterator for &'a Index<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Index<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter_mut()
    }
}
