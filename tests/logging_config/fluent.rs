//! The formats of Fluentd (tags that enclose lines of key and value) and Fluent Bit (sections of such lines).

use std::collections::{BTreeMap, BTreeSet};

type Shipped = BTreeMap<String, (Vec<String>, BTreeMap<String, String>)>;

/// Paths and labels by stream.
pub(crate) fn shipped_by_fluentd(text: &str) -> Shipped {
    let mut open: Vec<String> = Vec::new();
    let mut sections: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("</").and_then(|rest| rest.strip_suffix('>')) {
            assert_eq!(open.pop().as_deref(), Some(name), "{line}");
        } else if let Some(tag) = line.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            let (name, of) = tag.split_once(' ').unwrap_or((tag, ""));
            if open.is_empty() {
                sections.push((name.to_owned(), BTreeMap::from([("of".to_owned(), of.to_owned())])));
            }
            open.push(name.to_owned());
        } else {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let path: Vec<&str> = open.iter().skip(1).map(String::as_str).chain([key]).collect();
            let (_, keys) = sections.last_mut().unwrap();
            assert!(keys.insert(path.join("/"), value.to_owned()).is_none(), "{line}");
        }
    }
    assert!(open.is_empty(), "{open:?} is not closed");
    let mut shipped = Shipped::new();
    for (_, source) in sections.iter().filter(|(name, _)| name == "source") {
        assert_eq!(source["@type"], "tail");
        let is_text = source["tag"] == "sidetone.kamailio";
        assert_eq!(source["parse/@type"], if is_text { "none" } else { "json" });
        let is_for = |keys: &BTreeMap<String, String>| keys["of"] == source["tag"];
        let (_, to) = sections.iter().find(|(name, keys)| name == "match" && is_for(keys)).unwrap();
        assert_eq!((to["@type"].as_str(), to["url"].as_str()), ("loki", "https://loki.example:3100"));
        assert_eq!(to["tenant"], "\"team-a\"");
        let labels: BTreeMap<String, String> = serde_json::from_str(&to["extra_labels"]).unwrap();
        let paths = source["path"].split(',').map(str::to_owned).collect();
        shipped.insert(labels["stream"].clone(), (paths, labels));
    }
    shipped
}

/// The same of Fluent Bit, with its file of parsers.
pub(crate) fn shipped_by_fluent_bit(text: &str, parsers: &str) -> Shipped {
    let parsers: BTreeSet<String> = sections(parsers)
        .into_iter()
        .map(|(section, mut keys)| {
            assert_eq!((section.as_str(), keys["Format"].as_str()), ("PARSER", "json"));
            keys.remove("Name").unwrap()
        })
        .collect();
    let sections = sections(text);
    assert_eq!(sections[0].1["Parsers_File"], "fluent-bit-parsers.conf");
    let mut shipped = Shipped::new();
    for (_, input) in sections.iter().filter(|(section, _)| section == "INPUT") {
        assert_eq!(input["Name"], "tail");
        assert!(input.get("Parser").is_none_or(|parser| parsers.contains(parser)), "{input:?}");
        let is_for = |keys: &BTreeMap<String, String>| keys.get("Match") == Some(&input["Tag"]);
        let (_, to) = sections.iter().find(|(section, keys)| section == "OUTPUT" && is_for(keys)).unwrap();
        let server = ["Name", "Host", "Port", "Tls", "Tenant_ID"].map(|key| to[key].as_str());
        assert_eq!(server, ["loki", "loki.example", "3100", "on", "team-a"]);
        let labels: BTreeMap<String, String> = to["Labels"]
            .split(", ")
            .map(|label| label.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let paths = input["Path"].split(',').map(str::to_owned).collect();
        shipped.insert(labels["stream"].clone(), (paths, labels));
    }
    shipped
}

fn sections(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut sections: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push((name.to_owned(), BTreeMap::new()));
            continue;
        }
        // Keys stand in from the edge.
        let (key, value) = line.strip_prefix("    ").unwrap().split_once(' ').unwrap();
        let (_, keys) = sections.last_mut().unwrap();
        assert!(keys.insert(key.to_owned(), value.trim().to_owned()).is_none(), "{line}");
    }
    sections
}
