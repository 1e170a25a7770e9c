//! What `init` asks: whatever no flag says, again and again until there is an answer that can be used.

use std::io;

use anyhow::Context;
use anyhow::anyhow;
use clap::ValueEnum;

use crate::app::cli::Failure;
use crate::app::cli::init::Arguments;
use crate::app::cli::init::Kind;
use crate::app::cli::init::checked;
use crate::app::cli::init::plan;
use crate::app::cli::paint;
use crate::app::cli::say;
use crate::config::problem::Severity;

/// One thing that has to be said.
#[derive(Debug)]
pub(super) struct Question {
    text: &'static str,
    /// The flag that says it too.
    pub(super) flag: &'static str,
    is_open: fn(&Arguments) -> bool,
    take: fn(&mut Arguments, &str),
}

static QUESTIONS: [Question; 5] = [
    Question {
        text: "Tenant of Microsoft Entra (id or domain), or the issuer (https://...) of another",
        flag: "--tenant or --issuer",
        is_open: |arguments| arguments.tenant.is_none() && arguments.issuer.is_none(),
        take: |arguments, answer| match answer.contains("://") {
            true => arguments.issuer = Some(answer.to_owned()),
            false => arguments.tenant = Some(answer.to_owned()),
        },
    },
    Question {
        text: "Client id of this service",
        flag: "--client-id",
        is_open: |arguments| arguments.client_id.is_none(),
        take: |arguments, answer| arguments.client_id = Some(answer.to_owned()),
    },
    Question {
        text: "Credential: secret-file, certificate, workload-identity or managed-identity",
        flag: "--credential",
        is_open: |arguments| arguments.credential.is_none(),
        take: |arguments, answer| arguments.credential = Kind::from_str(answer, true).ok(),
    },
    Question {
        text: "URL of the service behind, such as http://127.0.0.1:8000",
        flag: "--upstream",
        is_open: |arguments| arguments.upstream.is_none(),
        take: |arguments, answer| arguments.upstream = Some(answer.to_owned()),
    },
    Question {
        text: "Scopes of the API behind, such as api://APP/.default",
        flag: "--scope",
        is_open: |arguments| arguments.scopes.is_empty(),
        take: |arguments, answer| {
            let scopes = answer.split([' ', ',']).filter(|scope| !scope.is_empty());
            arguments.scopes = scopes.map(str::to_owned).collect();
        },
    },
];

/// The questions that no flag has answered.
pub(super) fn open(arguments: &Arguments) -> impl Iterator<Item = &'static Question> {
    QUESTIONS.iter().filter(|question| (question.is_open)(arguments))
}

/// Asks them all, once the flags are known to be right.
pub(super) fn conduct(mut arguments: Arguments) -> Result<Arguments, Failure> {
    checked(&plan(&arguments)?)?;
    loop {
        let Some(question) = open(&arguments).next() else { return Ok(arguments) };
        let Some(answer) = ask(question.text)? else {
            say("\n");
            let file = arguments.output.display();
            return Err(Failure::Usage(anyhow!(
                "no more answers: {file} is not written; --help has the flags"
            )));
        };
        match answered(&arguments, question, &answer) {
            Ok(more) => arguments = more,
            Err(why) => say(why),
        }
    }
}

/// One line of the terminal; `None` = there are no more.
fn ask(text: &str) -> Result<Option<String>, Failure> {
    say(format_args!("{}: ", paint::of_stderr().strong(text)));
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line).context("cannot read the terminal")?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}

/// The arguments with that answer, or why it is none.
fn answered(arguments: &Arguments, question: &Question, answer: &str) -> Result<Arguments, String> {
    let mut more = arguments.clone();
    (question.take)(&mut more, answer);
    if answer.is_empty() || (question.is_open)(&more) {
        return Err(complaint("that is no answer", None));
    }
    match plan(&more).and_then(|plan| checked(&plan)) {
        Ok(_) => Ok(more),
        Err(Failure::Config(report)) => Err(report
            .problems()
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| complaint(&problem.message, problem.help.as_deref()))
            .collect()),
        Err(Failure::No(error) | Failure::Usage(error)) => Err(complaint(&format!("{error:#}"), None)),
    }
}

fn complaint(message: &str, help: Option<&str>) -> String {
    let help = help.map(|help| format!("    {help}\n")).unwrap_or_default();
    format!("  {}\n{help}", paint::of_stderr().bad(message))
}
