//! As much of JSON Schema as `docs/logs.schema.json` needs; a keyword that it does not know is an error.

use serde_json::Value;

/// All that is wrong with a value, with its place.
pub(crate) fn violations(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let keywords = match schema {
        Value::Bool(true) => return Vec::new(),
        Value::Bool(false) => return vec![format!("{at}: it may not be there")],
        Value::Object(keywords) => keywords,
        other => panic!("{other} is no schema"),
    };
    let mut wrong = Vec::new();
    let mut hold = |holds: bool, keyword: &str| {
        if !holds {
            wrong.push(format!("{at}: {value} violates {keyword} {}", keywords[keyword]));
        }
    };
    let nothing = serde_json::Map::new();
    let object = value.as_object();
    for (keyword, told) in keywords {
        match keyword.as_str() {
            "$schema" | "title" | "then" | "else" | "properties" | "allOf" | "items" | "if" => {}
            "type" => {
                let one = |name: &Value| is_a(value, name.as_str().unwrap());
                hold(told.as_array().map_or_else(|| one(told), |names| names.iter().any(one)), keyword);
            }
            "enum" => hold(told.as_array().unwrap().contains(value), keyword),
            "const" => hold(told == value, keyword),
            "minLength" => {
                hold(value.as_str().is_none_or(|text| text.len() as u64 >= told.as_u64().unwrap()), keyword);
            }
            "minimum" => hold(value.as_f64().is_none_or(|number| number >= told.as_f64().unwrap()), keyword),
            "maximum" => hold(value.as_f64().is_none_or(|number| number <= told.as_f64().unwrap()), keyword),
            "pattern" => hold(value.as_str().is_none_or(|text| fits(told.as_str().unwrap(), text)), keyword),
            "required" => {
                let has =
                    |key: &Value| object.is_none_or(|object| object.contains_key(key.as_str().unwrap()));
                hold(told.as_array().unwrap().iter().all(has), keyword);
            }
            "additionalProperties" => {
                let known = &keywords["properties"];
                let allowed = object.unwrap_or(&nothing).keys().all(|key| known.get(key).is_some());
                hold(*told != Value::Bool(false) || allowed, keyword);
            }
            unknown => panic!("the schema has a keyword that is not checked: {unknown}"),
        }
    }
    for (key, schema) in keywords.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = object.and_then(|object| object.get(key)) {
            wrong.extend(violations(schema, value, &format!("{at}.{key}")));
        }
    }
    for entry in value.as_array().into_iter().flatten() {
        if let Some(schema) = keywords.get("items") {
            wrong.extend(violations(schema, entry, at));
        }
    }
    for schema in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        wrong.extend(violations(schema, value, at));
    }
    if let Some(condition) = keywords.get("if") {
        let branch = if violations(condition, value, at).is_empty() { "then" } else { "else" };
        if let Some(schema) = keywords.get(branch) {
            wrong.extend(violations(schema, value, at));
        }
    }
    wrong
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

/// Patterns of classes, plain characters and counts: `^[0-9a-f]{64}$`.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pattern = pattern.strip_prefix('^').unwrap().strip_suffix('$').unwrap().chars().peekable();
    let mut text = text.chars().peekable();
    while let Some(next) = pattern.next() {
        let class: Vec<(char, char)> = match next {
            '[' => {
                let inside: Vec<char> = pattern.by_ref().take_while(|c| *c != ']').collect();
                let mut class = Vec::new();
                let mut at = 0;
                while at < inside.len() {
                    let is_range = inside.get(at + 1) == Some(&'-') && at + 2 < inside.len();
                    class.push((inside[at], inside[if is_range { at + 2 } else { at }]));
                    at += if is_range { 3 } else { 1 };
                }
                class
            }
            '\\' => pattern.next().map(|c| (c, c)).into_iter().collect(),
            plain => vec![(plain, plain)],
        };
        let (least, most) = if pattern.next_if_eq(&'{').is_some() {
            let count: String = pattern.by_ref().take_while(|c| *c != '}').collect();
            let (least, most) = count.split_once(',').unwrap_or((&count, &count));
            (least.parse().unwrap(), most.parse().unwrap())
        } else {
            (1, 1)
        };
        let is_of = |c: &char| class.iter().any(|(from, to)| (*from..=*to).contains(c));
        let mut count = 0;
        while count < most && text.next_if(is_of).is_some() {
            count += 1;
        }
        if count < least {
            return false;
        }
    }
    text.next().is_none()
}

#[test]
fn the_checker_sees_what_is_wrong() {
    assert!(
        fits("^[0-9a-f]{4}$", "09af") && !fits("^[0-9a-f]{4}$", "09ag") && !fits("^[0-9a-f]{4}$", "09aff")
    );
    assert!(fits("^[A-Za-z0-9._-]{1,3}$", "a-.") && !fits("^[A-Za-z0-9._-]{1,3}$", ""));
    let schema = serde_json::json!({ "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "enum": [1] } } });
    for (value, count) in [("{\"a\":1}", 0), ("{\"a\":2}", 1), ("{}", 1), ("{\"a\":1,\"b\":1}", 1), ("3", 1)]
    {
        assert_eq!(violations(&schema, &serde_json::from_str(value).unwrap(), "").len(), count, "{value}");
    }
}
