//! The file of messages has no section without a test.

use crate::common::messages::parse;
use crate::common::root;

#[test]
fn every_section_of_messages_has_a_test() {
    let tests = root().join("tests");
    let (_, sections) = parse(&std::fs::read_to_string(tests.join("messages.txt")).unwrap());
    for section in sections.keys() {
        let (file, subject) = section.split_once(": ").unwrap();
        let text = std::fs::read_to_string(tests.join(file)).unwrap_or_default();
        assert!(
            text.contains(&format!("\"{subject}\"")),
            "no test of '{section}'; delete it from messages.txt"
        );
    }
}
