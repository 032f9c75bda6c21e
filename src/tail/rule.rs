//! What a rule sees in a line, and what it makes of it.
//!
//! ```text
//! {"event":"chat","secure":true,"status":"ok","took_ms":812}
//!   when = { event = "chat" }          all conditions must hold; "*" = the field is there
//!   labels = { status = "status" }     label = field, or "=text" for a constant
//!   value = "took_ms", scale = 0.001   without it, one more
//! stage=stt ERROR cannot decode
//!   pattern = 'stage=(?P<stage>\w+) ERROR'     named groups are fields too
//! ```

use std::borrow::Cow;

use regex::Regex;

use super::json::{Field, Object};
use super::metric::{Declared, Families};

/// One rule: lines that fit it count in one family.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The family.
    pub family: Declared,
    /// Conditions on fields.
    pub when: Vec<(String, Vec<String>)>,
    /// What the line, or `field` of it, must contain.
    pub pattern: Option<Regex>,
    /// Field that the pattern is looked for in.
    pub field: Option<String>,
    /// Fields of the labels, in the order of the family's.
    pub labels: Vec<String>,
    /// Field of the value.
    pub value: Option<String>,
    /// What the value is multiplied by.
    pub scale: f64,
}

/// How a line reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    /// It is for another rule.
    Other,
    /// It is for this one, but has no value that counts.
    NoValue,
}

/// A line, and what is in it.
pub(super) struct Read<'a> {
    pub(super) text: &'a str,
    /// `None` when it is no JSON.
    pub(super) json: Option<&'a Object<'a>>,
}

impl Rule {
    /// Counts a line, if it is for this rule.
    pub(super) fn take(&self, line: &Read<'_>, families: &Families) -> Outcome {
        let field_of = |name: &str| line.json.and_then(|json| json.find(name)).and_then(Field::text);
        for (field, values) in &self.when {
            let Some(found) = field_of(field) else { return Outcome::Other };
            if !values.iter().any(|value| value == ANY || *value == found) {
                return Outcome::Other;
            }
        }
        let text = self.field.as_ref().map_or(Some(Cow::Borrowed(line.text)), |field| field_of(field));
        let text = text.unwrap_or_default();
        let groups = match &self.pattern {
            None => None,
            Some(pattern) => match pattern.captures(&text) {
                None => return Outcome::Other,
                groups => groups,
            },
        };
        let look = |name: &str| -> Option<Cow<'_, str>> {
            let group = groups.as_ref().and_then(|groups| groups.name(name));
            group.map(|group| Cow::Borrowed(group.as_str())).or_else(|| field_of(name))
        };
        let value = match &self.value {
            None => None,
            Some(field) => {
                let value = look(field).and_then(|text| number_of(&text)).map(|value| value * self.scale);
                let is_counter = matches!(self.family.kind, super::metric::Kind::Counter { .. });
                // A counter never falls.
                match value.filter(|value| value.is_finite() && (!is_counter || *value >= 0.0)) {
                    None => return Outcome::NoValue,
                    value => value,
                }
            }
        };
        let label = |source: &String| match source.strip_prefix('=') {
            Some(constant) => constant.to_owned(),
            None => look(source).filter(|text| !text.is_empty()).map_or(UNKNOWN.to_owned(), bounded),
        };
        families.take(&self.family.name, self.labels.iter().map(label).collect(), value);
        Outcome::Taken
    }
}

fn number_of(text: &str) -> Option<f64> {
    match text {
        "true" => Some(1.0),
        "false" => Some(0.0),
        text => text.trim().parse().ok(),
    }
}

fn bounded(text: Cow<'_, str>) -> String {
    match text.get(..text.floor_char_boundary(LONGEST_LABEL)) {
        Some(beginning) if beginning.len() < text.len() => beginning.to_owned(),
        _ => text.into_owned(),
    }
}

const ANY: &str = "*";
/// Of a label whose field is not there.
const UNKNOWN: &str = "unknown";
const LONGEST_LABEL: usize = 128;

#[cfg(test)]
mod tests {
    use super::super::metric::Kind;
    use super::*;

    fn rule(kind: Kind) -> Rule {
        let family = Declared {
            name: if kind == Kind::Gauge { "g".into() } else { "n_total".into() },
            kind,
            help: "h".into(),
            labels: vec!["status".into(), "stage".into()],
            series_max: 10,
        };
        Rule {
            family,
            when: vec![("event".into(), vec!["chat".into(), "talk".into()])],
            pattern: None,
            field: None,
            labels: vec!["result.status".into(), "=llm".into()],
            value: None,
            scale: 1.0,
        }
    }

    fn taken(rule: &Rule, lines: &[&str]) -> (Vec<Outcome>, String) {
        let families = Families::new(std::slice::from_ref(&rule.family));
        let outcomes = lines.iter().map(|text| {
            let json = Object::read(text);
            rule.take(&Read { text, json: json.as_ref() }, &families)
        });
        let outcomes = outcomes.collect();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, families.registry()).unwrap();
        (outcomes, text)
    }

    #[test]
    fn a_line_counts_where_all_conditions_hold() {
        use Outcome::{Other, Taken};
        let lines = [
            r#"{"event":"chat","result":{"status":"ok"}}"#,
            r#"{"event":"talk","result.status":5}"#,
            r#"{"event":"chat"}"#,
            r#"{"event":"other"}"#,
            "no JSON",
        ];
        let (outcomes, text) = taken(&rule(Kind::Counter { sums: false }), &lines);
        assert_eq!(outcomes, [Taken, Taken, Taken, Other, Other]);
        for status in ["ok", "5", "unknown"] {
            assert!(text.contains(&format!("n_total{{status=\"{status}\",stage=\"llm\"}} 1\n")), "{text}");
        }
    }

    #[test]
    fn a_value_is_scaled_and_must_be_a_number() {
        let mut rule = rule(Kind::Counter { sums: true });
        (rule.value, rule.scale) = (Some("took_ms".into()), 0.001);
        let lines = [
            r#"{"event":"chat","took_ms":1500}"#,
            r#"{"event":"chat","took_ms":"500"}"#,
            r#"{"event":"chat","took_ms":"soon"}"#,
            r#"{"event":"chat","took_ms":-3}"#,
            r#"{"event":"chat"}"#,
        ];
        let (outcomes, text) = taken(&rule, &lines);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::NoValue).count(), 3);
        assert!(text.contains("} 2.0\n"), "{text}");
    }

    #[test]
    fn groups_of_a_pattern_are_fields() {
        let mut rule = rule(Kind::Gauge);
        rule.when.clear();
        rule.pattern = Some(Regex::new(r"took (?P<took>[\d.]+) in (?P<stage>\w+)").unwrap());
        (rule.value, rule.labels[0]) = (Some("took".into()), "stage".into());
        let (outcomes, text) = taken(&rule, &["it took 1.25 in stt", "it took long"]);
        assert_eq!(outcomes, [Outcome::Taken, Outcome::Other]);
        assert!(text.contains("g{status=\"stt\",stage=\"llm\"} 1.25\n"), "{text}");
        rule.field = Some("message".into());
        let (outcomes, _) = taken(&rule, &[r#"{"message":"took 2 in tts"}"#, "took 2 in tts"]);
        assert_eq!(outcomes, [Outcome::Taken, Outcome::Other]);
    }
}
