//! Values by key, of which those that were used last are kept.

/// A bounded map: what was used least recently goes first. Few entries: they are looked through one by one.
pub(crate) struct LruCache<K, V> {
    /// The one that was used last comes last.
    entries: Vec<(K, V)>,
}

impl<K, V> Default for LruCache<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: PartialEq, V> LruCache<K, V> {
    /// The value of a key, which is the one used last from then on.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        let at = self.entries.iter().position(|(k, _)| k == key)?;
        self.entries[at..].rotate_left(1);
        self.entries.last_mut().map(|(_, v)| v)
    }

    /// The value of a key, without a note that it was used.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Adds a value or puts it in the place of another, as the one used last.
    pub fn insert(&mut self, key: K, value: V) {
        self.entries.retain(|(k, _)| *k != key);
        self.entries.push((key, value));
    }

    /// Takes out what was used least recently until there are no more than `most`.
    pub fn limit(&mut self, most: usize) -> Vec<V> {
        self.limit_by(|entries| entries.len() <= most)
    }

    /// Takes out what was used least recently until what is left fits.
    pub fn limit_by(&mut self, fits: impl Fn(&[(K, V)]) -> bool) -> Vec<V> {
        let first = (0..self.entries.len()).find(|&i| fits(&self.entries[i..]));
        let gone = first.unwrap_or(self.entries.len());
        self.entries.drain(..gone).map(|(_, v)| v).collect()
    }

    /// All keys and values, in the order of their last use.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(k, v)| (k, v))
    }
}

#[cfg(test)]
mod tests {
    use super::LruCache;

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let mut recent = LruCache::default();
        (0..4).for_each(|i| recent.insert(i, 10 * i));
        assert_eq!(recent.get(&0), Some(&mut 0));
        assert_eq!(recent.peek(&1), Some(&10));
        assert_eq!(recent.limit(2), [10, 20]);
        recent.insert(3, 31);
        assert_eq!(recent.iter().collect::<Vec<_>>(), [(&0, &0), (&3, &31)]);
    }
}
