//! Messages in full: those that a test provokes against its section of `tests/messages.txt`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::panic::Location;

/// `write` puts the messages of the tests that run into the file, in place of those that are there.
const VARIABLE: &str = "NENGO_WGPU_TEST_MESSAGES";

/// The messages of one test. They are compared when this is dropped.
pub struct Messages {
    section: String,
    said: RefCell<Vec<String>>,
    hidden: Vec<(String, String)>,
}

impl Messages {
    /// The messages of section `FILE: SUBJECT`, where `FILE` is the caller's, from `tests/` on.
    #[track_caller]
    pub fn of(subject: &str) -> Self {
        let file = Location::caller().file().replace('\\', "/");
        let file = file.split("tests/").last().unwrap_or_default();
        Self { section: format!("{file}: {subject}"), said: RefCell::default(), hidden: Vec::new() }
    }

    /// Writes `name` wherever `text` stands: for paths and devices, which differ from machine to machine.
    pub fn hide(mut self, text: impl Display, name: &str) -> Self {
        self.hidden.push((text.to_string(), name.into()));
        self
    }

    /// Adds the message of an error, and fails if there is none.
    #[track_caller]
    pub fn error<T, E: Display>(&self, result: Result<T, E>) {
        match result {
            Ok(_) => panic!("no error after message {} of '{}'", self.said.borrow().len(), self.section),
            Err(e) => self.text(e),
        }
    }

    /// Adds a message. One that is there already, as of a second device, is not repeated.
    pub fn text(&self, message: impl Display) {
        let hide = |text: String, (hidden, name): &(String, String)| text.replace(hidden, name);
        let message = self.hidden.iter().fold(message.to_string(), hide);
        // Files that are being written have a random part in their name.
        let message = match message.split_once(".nengo-wgpu-") {
            Some((before, name)) => {
                let after = name.find(".tmp").map_or("", |at| &name[at..]);
                format!("{before}.nengo-wgpu-RANDOM{after}")
            }
            None => message,
        };
        let mut said = self.said.borrow_mut();
        if !said.contains(&message) {
            said.push(message);
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let said = self.said.take();
        let path = super::root().join("tests/messages.txt");
        if std::env::var(VARIABLE).is_ok_and(|v| v == "write") {
            let mut file = File::options().read(true).write(true).open(&path).unwrap();
            // Tests of other processes write other sections of it at the same time.
            file.lock().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            let (head, mut sections) = parse(&text);
            sections.insert(self.section.clone(), said);
            file.set_len(0).unwrap();
            file.rewind().unwrap();
            file.write_all(show(&head, &sections).as_bytes()).unwrap();
            return;
        }
        let (_, mut sections) = parse(&std::fs::read_to_string(&path).unwrap());
        let written = sections.remove(&self.section).unwrap_or_default();
        if written != said {
            let only = |sign: char, some: &[String], others: &[String]| -> String {
                some.iter().filter(|m| !others.contains(m)).map(|m| format!("\n{sign} {m}")).collect()
            };
            panic!(
                "tests/messages.txt, '{}': messages that are missing now (-), new ones (+), or another order{}{}\n\
                 To accept them: {VARIABLE}=write cargo test, and read the difference in the file",
                self.section,
                only('-', &written, &said),
                only('+', &said, &written),
            );
        }
    }
}

/// The lines before the first section, and the messages of each section.
pub fn parse(text: &str) -> (String, BTreeMap<String, Vec<String>>) {
    let (mut head, mut sections) = (String::new(), BTreeMap::<String, Vec<String>>::new());
    let mut section: Option<&mut Vec<String>> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            section = Some(sections.entry(name.into()).or_default());
        } else if let Some(messages) = &mut section {
            if let Some(message) = line.strip_prefix("- ") {
                messages.push(message.into());
            } else if let (Some(more), Some(last)) = (line.strip_prefix("  "), messages.last_mut()) {
                *last += &format!("\n{more}");
            }
        } else {
            head += &format!("{line}\n");
        }
    }
    (head, sections)
}

fn show(head: &str, sections: &BTreeMap<String, Vec<String>>) -> String {
    let mut text = head.trim_end().to_string();
    for (name, messages) in sections {
        text += &format!("\n\n# {name}\n");
        for message in messages {
            text += &format!("\n- {}", message.replace('\n', "\n  "));
        }
    }
    text + "\n"
}
