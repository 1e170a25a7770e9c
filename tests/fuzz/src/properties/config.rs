//! A configuration file. Where it says `@@@` on a line of its own stands a line with a secret.

use obo_proxy::config;
use obo_proxy::config::problem::Location;
use obo_proxy::config::problem::Problem;
use obo_proxy::pipeline::route::RouteTable;

/// What must not be shown.
const SECRET: &str = "hunter2canary";
/// How it may be written; the length of the file says which it is.
const LINES: [&str; 4] = [
    "    credential: { secret: { value: hunter2canary } }",
    "      secret: { value: \"hunter2canary\" }",
    "    client_secret: hunter2canary",
    "        password: 'hunter2canary'",
];

/// Longer lines are cut.
const LONGEST_SHOWN: usize = 204;

/// The verdict is the same every time; every problem has its place in the text; no secret is told. What can be used can be
/// used.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if !text.lines().any(|line| line == "@@@") {
        check_text(text);
        return;
    }
    let secret = LINES[text.len() % LINES.len()];
    let lines: Vec<&str> = text.lines().map(|line| if line == "@@@" { secret } else { line }).collect();
    let told = check_text(&lines.join("\n"));
    // elsewhere it may stand where no secret is
    assert!(!told.contains(SECRET) || text.contains(SECRET), "{told}");
}

/// Everything that is said of `text`.
fn check_text(text: &str) -> String {
    let environment = [("SECRET".to_owned(), "from the environment".to_owned())];
    let load = || config::load_text("config.yaml", text, &environment);
    let (problems, told) = match load() {
        Ok(loaded) => {
            let config = &loaded.config;
            assert!(!config.listeners.is_empty());
            let _ = RouteTable::new(&config.routes);
            let told = config.written.to_json().to_string();
            (loaded.warnings, told)
        }
        Err(report) => {
            assert!(!report.problems().is_empty());
            (report.problems().to_vec(), format!("{report} {report:?} {}", report.to_json()))
        }
    };
    let again = match load() {
        Ok(loaded) => loaded.warnings,
        Err(report) => report.problems().to_vec(),
    };
    assert_eq!(problems, again);
    for problem in &problems {
        check_place(problem, text);
    }
    let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
    told + &problems.concat()
}

fn check_place(problem: &Problem, text: &str) {
    let shown = problem.to_string();
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    assert!(!problem.message.is_empty() && !problem.message.contains('\n'), "{shown}");
    let Location::File { position: Some((line, column)), .. } = &problem.location else { return };
    let lines: Vec<&str> = text.split('\n').collect();
    assert!((1..=lines.len()).contains(line), "{shown}");
    // a problem may be the end of a line
    assert!((1..=lines[line - 1].chars().count() + 1).contains(column), "{shown}");
    if let Some(excerpt) = &problem.excerpt {
        // blanks at the end of a line are not shown, and may be what is underlined
        let underlined = excerpt.indent + excerpt.width;
        assert!(excerpt.width >= 1 && underlined <= LONGEST_SHOWN, "{shown}");
        assert!(excerpt.line.chars().count() <= LONGEST_SHOWN, "{shown}");
    }
}
