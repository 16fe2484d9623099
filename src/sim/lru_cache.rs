//! A small cache that drops the least recently used entries.

/// A map in order of last use, for few entries: look-ups are linear.
pub(crate) struct LruCache<K, V> {
    /// From the least to the most recently used.
    entries: Vec<(K, V)>,
}

impl<K, V> Default for LruCache<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: PartialEq, V> LruCache<K, V> {
    /// The value of a key, which becomes the most recently used.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        let index = self.entries.iter().position(|(k, _)| k == key)?;
        self.entries[index..].rotate_left(1);
        self.entries.last_mut().map(|(_, v)| v)
    }

    /// The value of a key; the order stays.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Adds or replaces a value, as the most recently used.
    pub fn insert(&mut self, key: K, value: V) {
        self.entries.retain(|(k, _)| *k != key);
        self.entries.push((key, value));
    }

    /// Removes the least recently used values until at most `most` are left, and returns them.
    pub fn limit(&mut self, most: usize) -> Vec<V> {
        self.limit_by(|entries| entries.len() <= most)
    }

    /// Removes the least recently used values until the rest fits, and returns them.
    pub fn limit_by(&mut self, fits: impl Fn(&[(K, V)]) -> bool) -> Vec<V> {
        let first = (0..self.entries.len()).find(|&i| fits(&self.entries[i..]));
        let gone = first.unwrap_or(self.entries.len());
        self.entries.drain(..gone).map(|(_, v)| v).collect()
    }

    /// All keys and values, from the least to the most recently used.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(k, v)| (k, v))
    }
}

#[cfg(test)]
mod tests {
    use super::LruCache;

    #[test]
    fn least_recently_used_entries_are_removed_first() {
        let mut recent = LruCache::default();
        (0..4).for_each(|i| recent.insert(i, 10 * i));
        assert_eq!(recent.get(&0), Some(&mut 0));
        assert_eq!(recent.peek(&1), Some(&10));
        assert_eq!(recent.limit(2), [10, 20]);
        recent.insert(3, 31);
        assert_eq!(recent.iter().collect::<Vec<_>>(), [(&0, &0), (&3, &31)]);
    }
}
