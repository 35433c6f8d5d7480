//! Prints the reference of the configuration, as Markdown, from the JSON Schema that the types make:
//!
//! ```sh
//! cargo run -q -p gatepost-config --example reference > docs/reference/configuration.md
//! ```

use std::fmt::Write as _;

use serde_json::Value;

/// The tables, in the order in which a reader meets them: the heading, the schema's name, and how one is written.
const TABLES: [(&str, &str, &str); 32] = [
    ("The file", "", "gatepost.toml"),
    ("Server", "ServerTable", "[server]"),
    ("Log", "LogTable", "[log]"),
    ("Listeners", "ListenerTable", "[listen.NAME]"),
    ("Limits of a listener", "LimitsTable", "limits = { … }"),
    ("Redirect of a listener", "ListenerRedirectTable", "redirect = { … }"),
    ("Domains", "DomainTable", "[domain.\"NAME\"]"),
    ("Certificate of a domain", "DomainTlsTable", "tls = { … }"),
    ("APIs", "ApiTable", "[api.NAME]"),
    ("Throttles of an API", "ApiThrottleTable", "throttle = { … }"),
    ("Routes", "RouteTable", "[route.\"METHOD /path\"]"),
    ("Signatures", "SignedTable", "signed = { … }"),
    ("Signatures in any header", "HmacSha256Table", "hmac-sha256 = { … }"),
    ("Tokens that a route asks for", "TokenRuleTable", "jwt = { … }"),
    ("Throttles of a route", "ThrottleTable", "throttle = { … }"),
    ("Budgets", "BudgetTable", "budget = { … }"),
    ("Forward", "ForwardTable", "forward = { … }"),
    ("Headers to a backend", "ForwardHeadersTable", "headers = { … }"),
    ("Respond", "RespondTable", "respond = { … }"),
    ("Redirect", "RedirectTable", "redirect = { … }"),
    ("Examples", "ExampleTable", "example = [{ … }]"),
    ("Callers", "CallerTable", "[caller.NAME]"),
    ("Access keys of a caller", "AccessKeyTable", "sigv4 = [{ … }]"),
    ("Tokens of a caller", "TokenSubjectTable", "jwt = { … }"),
    ("Plans", "PlanTable", "[plan.NAME]"),
    ("Throttles of a plan", "PlanThrottleTable", "throttle = { … }"),
    ("Quotas", "QuotaTable", "quota = { … }"),
    ("Address sets", "AddressesTable", "[addresses.NAME]"),
    ("Upstreams", "UpstreamTable", "[upstream.NAME]"),
    ("Health checks", "HealthTable", "health = { … }"),
    ("Ejection", "EjectTable", "eject = { … }"),
    ("Values", "", ""),
];

#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
fn main() {
    let schema = gatepost_config::schema();
    print!("{}", reference(&schema));
}

fn reference(schema: &Value) -> String {
    let mut page = String::from(
        "# Configuration reference\n\nMade from the types that read the file (`cargo run -q -p gatepost-config --example \
         reference`); the guide is [configuration.md](../configuration.md).\n",
    );
    let definitions = &schema["$defs"];
    for (heading, name, written) in TABLES {
        let table = match (name, written) {
            ("", "") => return page + &values(definitions),
            ("", _) => schema,
            (name, _) => &definitions[name],
        };
        // Writing to a string cannot fail.
        let _ = writeln!(page, "\n## {heading}\n\n`{written}` — {}\n", text(table));
        page.push_str("| key | is | does |\n| --- | --- | --- |\n");
        for (key, property) in table["properties"].as_object().into_iter().flatten() {
            let required = table["required"].as_array().is_some_and(|keys| keys.iter().any(|name| name == key));
            let mark = if required { " (required)" } else { "" };
            let _ = writeln!(page, "| `{key}`{mark} | {} | {} |", kind(property, definitions), text(property));
        }
    }
    page
}

/// The typed strings, and the pattern of each.
fn values(definitions: &Value) -> String {
    let mut section = String::from("\n## Values\n\n| value | is | pattern |\n| --- | --- | --- |\n");
    for (name, definition) in definitions.as_object().into_iter().flatten() {
        if let Some(pattern) = definition["pattern"].as_str() {
            let pattern = pattern.replace('|', "\\|");
            let _ = writeln!(section, "| {} | {} | `{pattern}` |", spaced(name), text(definition));
        }
    }
    section
}

fn kind(property: &Value, definitions: &Value) -> String {
    if let Some(reference) = property["$ref"].as_str() {
        let name = reference.trim_start_matches("#/$defs/");
        let definition = &definitions[name];
        return match definition["type"].as_str() {
            Some("string") if definition["enum"].is_null() => spaced(name),
            None if definition["anyOf"].is_null() => spaced(name),
            _ => kind(definition, definitions),
        };
    }
    if let Some(words) = property["enum"].as_array() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    }
    match property["type"].as_str() {
        Some("array") => format!("a list of {}", kind(&property["items"], definitions)),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("string") => "text".to_owned(),
        Some("integer") => whole_number(property),
        Some("number") => number(property),
        Some("object") => "a table".to_owned(),
        _ => one_of(property, definitions),
    }
}

fn one_of(property: &Value, definitions: &Value) -> String {
    let choices = property["anyOf"].as_array().or(property["oneOf"].as_array());
    let kinds: Vec<String> = choices.into_iter().flatten().map(|choice| kind(choice, definitions)).collect();
    if kinds.is_empty() { "a value".to_owned() } else { kinds.join(" or ") }
}

fn whole_number(property: &Value) -> String {
    match (property["minimum"].as_u64(), property["maximum"].as_u64()) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "a whole number".to_owned(),
    }
}

fn number(property: &Value) -> String {
    match (property["minimum"].as_f64(), property["maximum"].as_f64()) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "a number".to_owned(),
    }
}

fn text(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

/// `ListenAddress` as `listen address`.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
