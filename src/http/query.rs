//! The query of a request: `?detailed=true&limit=20`.

use super::route::percent_decoded;

/// Names and values, decoded, in the order in which they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads what stands behind the question mark; `None` when it cannot be decoded or holds too many pairs.
    pub fn parse(text: &str) -> Option<Self> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MOST_PAIRS {
                return None;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decoded(name)?, decoded(value)?));
        }
        Some(Self { pairs })
    }

    /// The first value of that name.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Whether it is switched on: `?name`, `?name=true` or `?name=1`.
    pub fn is_set(&self, name: &str) -> bool {
        matches!(self.first(name), Some("" | "true" | "1"))
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Forms write a blank as `+`.
fn decoded(text: &str) -> Option<String> {
    percent_decoded(&text.replace('+', " "))
}

const MOST_PAIRS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let query = Query::parse("tenant=a%26b+c&detailed&x=1&x=2").unwrap();
        assert_eq!(query.first("tenant"), Some("a&b c"));
        assert_eq!(query.first("x"), Some("1"));
        assert_eq!(query.iter().count(), 4);
        assert!(query.is_set("detailed") && query.is_set("x") && !query.is_set("tenant"));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(Query::parse("a=%zz"), None);
        assert_eq!(Query::parse(&"a&".repeat(33)), None);
        assert_eq!(Query::parse(""), Some(Query::default()));
    }
}
