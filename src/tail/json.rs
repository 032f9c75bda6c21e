//! The fields of one line of JSON, as far as rules may ask for them: text stays where it is in the line.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// An object.
#[derive(Debug, PartialEq)]
pub(super) struct Object<'a>(Vec<(Text<'a>, Field<'a>)>);

/// What a field holds.
#[derive(Debug, PartialEq)]
pub(super) enum Field<'a> {
    Text(Cow<'a, str>),
    Number(Number),
    Truth(bool),
    Object(Object<'a>),
    /// A list, or null.
    Other,
}

#[derive(Debug, PartialEq)]
struct Text<'a>(Cow<'a, str>);

impl<'a> Object<'a> {
    /// `None` when the line is no object.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        match serde_json::from_str(line).ok()? {
            Field::Object(object) => Some(object),
            _ => None,
        }
    }

    /// A field by its name; of two with the same name, the last.
    pub(super) fn get(&self, name: &str) -> Option<&Field<'a>> {
        self.0.iter().rfind(|(key, _)| key.0 == name).map(|(_, field)| field)
    }

    /// A field by its name, or by the names on the way to it: `metadata.duration`.
    pub(super) fn find(&self, name: &str) -> Option<&Field<'a>> {
        if let Some(field) = self.get(name) {
            return Some(field);
        }
        let (first, rest) = name.split_once('.')?;
        match self.get(first)? {
            Field::Object(object) => object.find(rest),
            _ => None,
        }
    }
}

impl Field<'_> {
    /// Of what is no list and no object.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Truth(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
            Self::Object(_) | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(FieldVisitor)? {
            Field::Text(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("no text")),
        }
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Field<'de>, E> {
        Ok(Field::Truth(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field<'de>, E> {
        Ok(Field::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field<'de>, E> {
        Ok(Field::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Field<'de>, E> {
        Ok(Number::from_f64(number).map_or(Field::Other, Field::Number))
    }

    fn visit_unit<E>(self) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field<'de>, A::Error> {
        let mut fields = Vec::with_capacity(USUAL_FIELDS);
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Field::Object(Object(fields)))
    }
}

const USUAL_FIELDS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_by_path() {
        let line =
            r#"{"a":"x","b":{"c":{"d":-3},"e":[1,{"f":2}]},"b.g":1.50,"t":true,"n":null,"\u0061":"y\n"}"#;
        let object = Object::read(line).unwrap();
        let text = |name: &str| object.find(name).and_then(Field::text).map(Cow::into_owned);
        let found = ["a", "b.c.d", "b.g", "t", "b.e", "b", "n", "a.b", "none"].map(text);
        let expected = [Some("y\n"), Some("-3"), Some("1.5"), Some("true"), None, None, None, None, None];
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)));
        for line in ["[]", "1", "{", "{\"a\":1} x", "", "{1:2}"] {
            assert_eq!(Object::read(line), None, "{line}");
        }
    }

    #[test]
    fn text_is_not_copied() {
        let line = r#"{"a":"plain","b":"\"quoted\""}"#;
        let object = Object::read(line).unwrap();
        assert!(matches!(object.get("a"), Some(Field::Text(Cow::Borrowed("plain")))));
        assert!(matches!(object.get("b"), Some(Field::Text(Cow::Owned(_)))));
    }
}
