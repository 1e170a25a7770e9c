//! `init`: writes a configuration to begin with. Asks for what no flag says, on a terminal.

use std::fs;
use std::fs::File;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::anyhow;
use clap::ValueEnum;

use crate::app::cli::Failure;
use crate::app::cli::paint;
use crate::app::cli::print;
use crate::app::cli::run;
use crate::app::cli::say;
use crate::app::init::Credential;
use crate::app::init::Plan;
use crate::app::init::Server;
use crate::config;
use crate::config::Loaded;
use crate::domain::printable;

mod interview;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
What no flag says is asked for on a terminal; elsewhere it is an error. The file holds no secret, only where it is. It is written
once all is said, and then whole: whoever stops before leaves nothing behind.

Examples:
  obo-proxy init
  obo-proxy init --tenant 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 --client-id 6731de76-14a6-49ae-97bc-6eba6914391e \\
    --credential secret-file --upstream http://127.0.0.1:8000 --scope api://orders-backend/.default
  obo-proxy init --issuer https://id.example/realms/b2b --client-id orders-proxy --credential certificate \\
    --upstream http://127.0.0.1:8000 --scope orders --output -

Exit codes: 0 it is written; 1 it was stopped; 2 usage, or an answer is missing; 74 it cannot be written, or is there already;
            78 what the flags say is no configuration.

Read on: docs/entra-registration.md (what has to be registered), docs/identity-providers.md (every other credential and provider).")]
pub(super) struct Arguments {
    /// Microsoft Entra: the tenant's id, or one of its domains
    #[arg(long, value_name = "TENANT", conflicts_with = "issuer")]
    tenant: Option<String>,
    /// Any other identity provider: its `iss`
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The client id of this service
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// How this service proves who it is
    #[arg(long, value_enum)]
    credential: Option<Kind>,
    /// The file that will hold the client secret
    #[arg(long, value_name = "FILE", default_value = "/run/secrets/client_secret")]
    secret_file: String,
    /// The PEM file that will hold the certificate
    #[arg(long, value_name = "FILE", default_value = "/etc/obo-proxy/client.crt")]
    certificate: String,
    /// The PEM file that will hold its key
    #[arg(long, value_name = "FILE", default_value = "/etc/obo-proxy/client.key")]
    key: String,
    /// An `aud` that is accepted, if it does not follow from the client id; may be given again
    #[arg(long = "audience", value_name = "AUD")]
    audiences: Vec<String>,
    /// Where requests go
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// A scope that the caller's token is exchanged for; may be given again
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Where to write; `-` = standard output
    #[arg(short, long, value_name = "FILE", default_value = "obo-proxy.yaml")]
    output: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
}

/// How a service proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A client secret in a file
    SecretFile,
    /// A certificate, whose key signs
    Certificate,
    /// Microsoft Entra Workload ID on AKS
    WorkloadIdentity,
    /// An Azure managed identity
    ManagedIdentity,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    can_be_written(&arguments)?;
    let arguments = complete(arguments)?;
    let plan = plan(&arguments)?;
    let text = plan.to_yaml();
    let paint = paint::of_stderr();
    for warning in checked(&plan)?.warnings {
        say(format_args!("{}\n", warning.to_text(paint)));
    }
    if is_stdout(&arguments.output) {
        return print(&text);
    }
    write(&arguments, &text)?;
    let file = arguments.output.display();
    let mut steps = plan.next_steps();
    steps.push(format!("obo-proxy check --config {file}"));
    steps.push(format!("obo-proxy run --config {file}"));
    let steps: String =
        steps.iter().enumerate().map(|(at, step)| format!("  {}. {step}\n", at + 1)).collect();
    say(printable::lines(&format!("{file} is written. What comes next:\n{steps}")));
    Ok(())
}

/// The arguments with the answers of whoever sits at the terminal, if one is needed.
fn complete(arguments: Arguments) -> Result<Arguments, Failure> {
    let missing: Vec<&str> = interview::open(&arguments).map(|question| question.flag).collect();
    if missing.is_empty() {
        return Ok(arguments);
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::Usage(anyhow!("these flags are missing: {}", missing.join(", "))));
    }
    let runtime = run::runtime()?;
    let output = arguments.output.clone();
    let answered = runtime.block_on(async {
        let stopped = run::signals(1)?;
        let asking = tokio::task::spawn_blocking(|| interview::conduct(arguments));
        tokio::select! {
            () = stopped => {
                say("\n");
                Err(Failure::No(anyhow!("stopped: {} is not written", output.display())))
            }
            answered = asking => answered.context("the questions broke off")?,
        }
    });
    // nothing else ends a read of the terminal
    runtime.shutdown_background();
    answered
}

/// What the file says, with a stand-in for whatever is not known yet.
fn plan(arguments: &Arguments) -> Result<Plan, Failure> {
    let is_azure_s = matches!(arguments.credential, Some(Kind::WorkloadIdentity | Kind::ManagedIdentity));
    let server = match (&arguments.tenant, &arguments.issuer) {
        (Some(tenant), _) => Server::Entra { tenant: tenant.clone() },
        (None, Some(_)) if is_azure_s => {
            return Err(Failure::Usage(anyhow!("only Microsoft Entra (--tenant) takes that credential")));
        }
        (None, Some(issuer)) => Server::Oidc { issuer: issuer.clone() },
        (None, None) if is_azure_s => Server::Entra { tenant: "contoso.example".into() },
        // less is wrong there
        (None, None) => Server::Oidc { issuer: "https://id.example".into() },
    };
    let credential = match arguments.credential {
        None | Some(Kind::SecretFile) => Credential::SecretFile(arguments.secret_file.clone()),
        Some(Kind::Certificate) => {
            Credential::Certificate { file: arguments.certificate.clone(), key: arguments.key.clone() }
        }
        Some(Kind::WorkloadIdentity) => Credential::WorkloadIdentity,
        Some(Kind::ManagedIdentity) => Credential::ManagedIdentity,
    };
    let or = |said: &Option<String>, stand_in: &str| said.clone().unwrap_or_else(|| stand_in.to_owned());
    let scopes = match arguments.scopes.as_slice() {
        [] => vec!["api://orders-backend/.default".to_owned()],
        own => own.to_vec(),
    };
    Ok(Plan {
        server,
        client_id: or(&arguments.client_id, "00000000-0000-0000-0000-000000000001"),
        credential,
        audiences: arguments.audiences.clone(),
        upstream: or(&arguments.upstream, "http://127.0.0.1:8000"),
        scopes,
    })
}

/// Whatever is said has to be a configuration; what the platform provides is not there yet.
fn checked(plan: &Plan) -> Result<Loaded, Failure> {
    let token = "/var/run/secrets/azure/tokens/azure-identity-token";
    let environment = [("AZURE_FEDERATED_TOKEN_FILE".into(), token.into())];
    config::load_text("what would be written", &plan.to_yaml(), &environment).map_err(Failure::Config)
}

fn is_stdout(output: &Path) -> bool {
    output == Path::new("-")
}

/// Complains before anything is asked, as far as that can be known.
fn can_be_written(arguments: &Arguments) -> Result<(), Failure> {
    let output = &arguments.output;
    if is_stdout(output) {
        return Ok(());
    }
    if !arguments.force && output.symlink_metadata().is_ok() {
        let there = anyhow::Error::from(io::Error::from(io::ErrorKind::AlreadyExists));
        let why = format!("{} is there already; --force replaces it", output.display());
        return Err(Failure::No(there.context(why)));
    }
    let directory = output.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    directory.metadata().with_context(|| format!("cannot write {}", output.display()))?;
    Ok(())
}

/// Writes all or nothing.
fn write(Arguments { output, force, .. }: &Arguments, text: &str) -> Result<(), Failure> {
    let written = match output.symlink_metadata() {
        // whoever follows a link, or writes into a pipe, does not replace it
        Ok(there) if *force && !there.is_file() => {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            let said = format!("{} is no file of its own, and is not replaced", output.display());
            return Err(Failure::No(anyhow::Error::new(error).context(said)));
        }
        Ok(there) if *force => replace(output, text, there.permissions()),
        _ => create(output, text, 0o666),
    };
    written.with_context(|| format!("cannot write {}", output.display()))?;
    Ok(())
}

/// Writes a file that is not there. One that cannot be written whole does not stay: its beginning may be a configuration itself.
fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(path)))
}

/// Puts a new file in the place of the one at `path`, which is whole until then.
fn replace(path: &Path, text: &str, permissions: fs::Permissions) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    create(&beside, text, 0o600)?;
    let replaced = fs::set_permissions(&beside, permissions).and_then(|()| fs::rename(&beside, path));
    replaced.inspect_err(|_| drop(fs::remove_file(&beside)))
}
