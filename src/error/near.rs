//! Suggestions for unknown names.

/// The known name that is nearest to `name`; `None` if none is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase().replace('_', "-");
    let length = name.chars().count();
    let distance = |other: &str| {
        let other = other.to_lowercase().replace('_', "-");
        // The beginning of a known name is near it, however long the name is.
        if length > 2 && other.starts_with(&name) { 1 } else { strsim::osa_distance(&name, &other) }
    };
    let near =
        known.into_iter().map(|other| (distance(other), other)).min_by_key(|(distance, _)| *distance)?;
    // A third of the letters may be wrong, and one letter of a short name.
    (near.0 <= (length / 3).max(1) && near.0 < length).then_some(near.1)
}

/// The suggestion ` (did you mean 'x'?)`; empty if no known name is near.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn nearest_name_is_suggested_unless_all_are_far() {
        let known = ["neuron-type", "n-neurons", "radius", "seed"];
        assert_eq!(nearest("neuron-typ", known), Some("neuron-type"));
        assert_eq!(nearest("neuron_type", known), Some("neuron-type"));
        assert_eq!(nearest("sede", known), Some("seed"));
        assert_eq!(nearest("Radius", known), Some("radius"));
        assert_eq!(nearest("activation", known), None);
        assert_eq!(nearest("neuron", known), Some("neuron-type"));
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
