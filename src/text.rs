//! Makes texts of users and files safe to show in a terminal, a picture or a file name.

use std::collections::{HashMap, HashSet};

/// Most characters of a message.
pub const MOST_OF_MESSAGE: usize = 2000;

/// Escapes invisible characters: control characters as `\u{1b}`, line ends as `\n`, and characters that change the writing
/// direction.
///
/// ```
/// assert_eq!(nengo_wgpu::internals::text::visible("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
/// ```
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

fn is_hidden(c: char) -> bool {
    let formats =
        |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    let others =
        |c| matches!(c, '\u{61c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || formats(c) || others(c)
}

/// Replaces the middle of a text that has more than `most` characters.
pub fn cut(text: &str, most: usize) -> String {
    let n = text.chars().count();
    if n <= most {
        return text.to_string();
    }
    let tail = most / 3;
    let head: String = text.chars().take(most - tail).collect();
    let end: String = text.chars().skip(n - tail).collect();
    format!("{head} … ({} characters left out) … {end}", n - most)
}

/// Shortens long numbers in a text: numbers with more digits than 64 bits can distinguish, and numbers with many zeros.
///
/// ```
/// use nengo_wgpu::internals::text::short_numbers;
/// assert_eq!(short_numbers("it is 1000000000000000000000, above 0.30000000000000004"), "it is 1e21, above 0.3");
/// ```
pub fn short_numbers(text: &str) -> String {
    text.split(' ')
        .map(|word| short_number(word).unwrap_or_else(|| word.into()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Shortens a word that is such a number, possibly in brackets or before punctuation.
fn short_number(word: &str) -> Option<String> {
    let around = |c: char| "()[]{},;:%".contains(c);
    let bare = word.trim_matches(around).trim_end_matches('.');
    let digits = bare.chars().filter(char::is_ascii_digit).count();
    // Whole numbers up to the largest 64-bit one, such as seeds, are kept.
    let most = if bare.contains('.') { 16 } else { 20 };
    let plain = bare.trim_start_matches('-').chars().all(|c| c.is_ascii_digit() || c == '.');
    if digits <= most || !plain {
        return None;
    }
    let number: f64 = format!("{:.14e}", bare.parse::<f64>().ok()?).parse().ok()?;
    let short = match number.abs() {
        size if size.is_infinite() => format!("{}…", bare.get(..most)?),
        size if size == 0.0 || (1e-5..1e15).contains(&size) => number.to_string(),
        _ => format!("{number:e}"),
    };
    Some(word.replacen(bare, &short, 1))
}

/// Assigns unique file names.
#[derive(Default)]
pub struct FileNames {
    /// True for names in an archive, which allow more characters and are case-sensitive.
    archive: bool,
    /// Names taken, in lower case, since some file systems ignore case.
    taken: HashSet<String>,
    /// Next number to append, by name.
    next: HashMap<String, usize>,
}

/// Most characters of a name. At four bytes each, an ending and a number still fit into the 255 bytes of a file name.
const MAX_NAME_CHARS: usize = 50;

/// Endings that may follow a name, for several pictures of one probe.
const ENDINGS: [&str; 3] = ["", "-raster", "-rates"];

impl FileNames {
    /// No names are taken yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Assigns names in an archive, which keep all visible characters except slashes.
    pub fn in_archive() -> Self {
        Self { archive: true, ..Self::default() }
    }

    /// Assigns a name for `name` that is unique, also with the endings `-raster` and `-rates`.
    ///
    /// Letters, digits, `-`, `_` and single dots are kept; other characters become `_`. Long names are cut, and a number is
    /// appended if a name is taken.
    pub fn add(&mut self, name: &str) -> String {
        let plain = plain(name, if self.archive { stays_in_archive } else { stays });
        let fold = |name: &str| if self.archive { name.to_string() } else { name.to_lowercase() };
        let endings = if self.archive { &ENDINGS[..1] } else { &ENDINGS };
        let key = fold(&plain);
        let mut n = self.next.get(&key).copied().unwrap_or(1);
        loop {
            let candidate = if n == 1 { plain.clone() } else { format!("{plain}-{n}") };
            n += 1;
            let all: Vec<_> = endings.iter().map(|ending| format!("{}{ending}", fold(&candidate))).collect();
            if all.iter().all(|name| !self.taken.contains(name)) {
                self.taken.extend(all);
                self.next.insert(key, n);
                return candidate;
            }
        }
    }
}

/// True for characters that every file system accepts.
fn stays(c: char) -> bool {
    c.is_alphanumeric() || "-_.".contains(c)
}

/// True for characters that cannot lead outside the directory where an archive is unpacked.
fn stays_in_archive(c: char) -> bool {
    !is_hidden(c) && c != '/' && c != '\\'
}

/// A name that every file system accepts.
fn plain(name: &str, stays: fn(char) -> bool) -> String {
    let seen = |c: char| if stays(c) { c } else { '_' };
    let mut text: String = name.chars().map(seen).take(MAX_NAME_CHARS).collect();
    while text.contains("..") {
        text = text.replace("..", "_.");
    }
    // Device names on Windows, also with an extension.
    let first = text.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered = |kind: &str| first.strip_prefix(kind).is_some_and(|n| n.len() == 1);
    let device = ["CON", "PRN", "AUX", "NUL"].contains(&first.as_str()) || numbered("COM") || numbered("LPT");
    if first.is_empty() || device {
        text.insert(0, '_');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_reaches_the_terminal_as_a_command() {
        assert_eq!(visible("plain, é, 'x' -> \"y\""), "plain, é, 'x' -> \"y\"");
        let text = visible("\u{1b}]0;title\u{7}\r\u{0}\u{9b}31m\u{202e}tpircs");
        assert!(text.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{text}");
    }

    #[test]
    fn long_numbers_are_shortened_and_others_stay() {
        for (long, short) in [
            ("is 1000000000000000000000.0", "is 1e21"),
            ("(0.30000000000000004), -0.006000000000000001.", "(0.3), -0.006."),
            ("[0.00000000000000000012]", "[1.2e-19]"),
        ] {
            assert_eq!(short_numbers(long), short);
        }
        let seed = u64::MAX.to_string();
        let name = format!("'{}'", "1".repeat(30));
        for same in
            ["0.25, 1e300 and -3", seed.as_str(), name.as_str(), "1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6.7.8", ""]
        {
            assert_eq!(short_numbers(same), same);
        }
        assert_eq!(short_numbers(&"9".repeat(400)), format!("{}…", "9".repeat(20)));
    }

    #[test]
    fn long_texts_lose_their_middle() {
        assert_eq!(cut("short", 5), "short");
        let text = cut(&format!("begin{}end", "x".repeat(10_000)), 60);
        assert!(text.starts_with("begin") && text.ends_with("end") && text.len() < 120, "{text}");
        assert!(text.contains("9948 characters"), "{text}");
    }

    #[test]
    fn names_of_files_are_safe_and_all_different() {
        let mut names = FileNames::new();
        let odd = [
            "a",
            "A",
            "a",
            "a/b",
            "a\\b",
            "..",
            "../../etc/passwd",
            "",
            ".",
            "/",
            "\0",
            "a\nb",
            "con",
            "COM1.x",
            "a-raster",
            "b-rates",
            "b",
            "é",
            "名前",
            "a-2",
        ];
        let long = ["😀", "ß", "字"].map(|c| c.repeat(10_000));
        let all: Vec<String> =
            odd.iter().copied().chain(long.iter().map(String::as_str)).map(|name| names.add(name)).collect();
        let mut files = std::collections::HashSet::new();
        for name in &all {
            assert!(name.len() <= 210 && !name.contains("..") && !name.starts_with('.'), "{name}");
            assert!(name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)), "{name}");
            for ending in ENDINGS {
                assert!(
                    files.insert(format!("{name}{ending}").to_lowercase()),
                    "{name}{ending} is there twice"
                );
            }
        }
        assert_eq!(all[..3], ["a", "A-2", "a-3"]);
        let mut names = FileNames::in_archive();
        let all = ["a b", "a->b", "A", "a", "a/../b", "/x", "b-rates", "b"].map(|name| names.add(name));
        assert_eq!(all, ["a b", "a->b", "A", "a", "a__._b", "_x", "b-rates", "b"]);
        let mut many = FileNames::new();
        (0..20_000).for_each(|_| drop(many.add("?")));
    }
}
