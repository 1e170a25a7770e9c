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
use crate::app::cli::print;
use crate::app::init::Credential;
use crate::app::init::Plan;
use crate::app::init::Server;
use crate::config;
use crate::domain::printable;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What no flag says is asked for on a terminal; elsewhere it is an error. The file holds no secret, only where it is.

Examples:
  obo-proxy init
  obo-proxy init --tenant 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 --client-id 6731de76-14a6-49ae-97bc-6eba6914391e \\
    --credential secret-file --upstream http://127.0.0.1:8000 --scope api://orders-backend/.default
  obo-proxy init --issuer https://id.example/realms/b2b --client-id orders-proxy --credential certificate \\
    --upstream http://127.0.0.1:8000 --scope orders --output -"
)]
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

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = plan(arguments)?;
    let text = plan.to_yaml();
    // whatever the flags say has to be a configuration; what the platform provides is not there yet
    let token = "/var/run/secrets/azure/tokens/azure-identity-token";
    let environment = [("AZURE_FEDERATED_TOKEN_FILE".into(), token.into())];
    config::load_text("what would be written", &text, &environment).map_err(Failure::Config)?;
    if arguments.output == Path::new("-") {
        return print(&text);
    }
    write(arguments, &text)?;
    let file = arguments.output.display();
    let mut steps = plan.next_steps();
    steps.push(format!("obo-proxy check --config {file}"));
    steps.push(format!("obo-proxy run --config {file}"));
    let steps: String =
        steps.iter().enumerate().map(|(at, step)| format!("  {}. {step}\n", at + 1)).collect();
    eprint!("{}", printable::lines(&format!("{file} is written. What comes next:\n{steps}")));
    Ok(())
}

fn write(arguments: &Arguments, text: &str) -> Result<(), Failure> {
    let path = &arguments.output;
    let there = fs::symlink_metadata(path).ok();
    let written = match (&there, arguments.force) {
        (Some(_), false) => {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            let said = format!("{} is there already; --force replaces it", path.display());
            return Err(Failure::No(anyhow::Error::new(error).context(said)));
        }
        // whoever follows a link, or writes into a pipe, does not replace it
        (Some(there), true) if !there.is_file() => {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            let said = format!("{} is no file of its own, and is not replaced", path.display());
            return Err(Failure::No(anyhow::Error::new(error).context(said)));
        }
        (Some(there), true) => replace(path, text, there.permissions()),
        (None, _) => create(path, text, 0o666),
    };
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Writes a file that is not there; one that cannot be written whole does not stay.
fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Puts a new file in the place of the one at `path`, which is whole until then.
fn replace(path: &Path, text: &str, permissions: fs::Permissions) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    create(&beside, text, 0o600)?;
    let replaced = fs::set_permissions(&beside, permissions).and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&beside);
    }
    replaced
}

fn plan(arguments: &Arguments) -> Result<Plan, Failure> {
    let mut asker = Asker::new();
    let server = match (&arguments.tenant, &arguments.issuer) {
        (Some(tenant), _) => Some(Server::Entra { tenant: tenant.clone() }),
        (None, Some(issuer)) => Some(Server::Oidc { issuer: issuer.clone() }),
        (None, None) => asker
            .ask(
                "Tenant of Microsoft Entra (id or domain), or the issuer (https://...) of another",
                "--tenant or --issuer",
            )?
            .map(|answer| match answer.contains("://") {
                true => Server::Oidc { issuer: answer },
                false => Server::Entra { tenant: answer },
            }),
    };
    let client_id = asker.or(arguments.client_id.as_ref(), "Client id of this service", "--client-id")?;
    let credential = match arguments.credential {
        Some(kind) => Some(kind),
        None => {
            let question = "Credential: secret-file, certificate, workload-identity or managed-identity";
            match asker.ask(question, "--credential")? {
                Some(answer) => Some(
                    Kind::from_str(&answer, true)
                        .map_err(|_| Failure::Usage(anyhow!("`{answer}` is none of the credentials")))?,
                ),
                None => None,
            }
        }
    };
    let upstream = asker.or(arguments.upstream.as_ref(), "URL of the service behind", "--upstream")?;
    let scopes = match arguments.scopes.as_slice() {
        [] => asker
            .ask("Scope of the API behind, such as api://APP/.default", "--scope")?
            .map(|scope| vec![scope]),
        own => Some(own.to_vec()),
    };
    let (Some(server), Some(client_id), Some(credential), Some(upstream), Some(scopes)) =
        (server, client_id, credential, upstream, scopes)
    else {
        return Err(Failure::Usage(anyhow!("these flags are missing: {}", asker.missing.join(", "))));
    };
    let is_azure_s = matches!(credential, Kind::WorkloadIdentity | Kind::ManagedIdentity);
    if is_azure_s && matches!(server, Server::Oidc { .. }) {
        return Err(Failure::Usage(anyhow!("only Microsoft Entra (--tenant) takes that credential")));
    }
    let credential = match credential {
        Kind::SecretFile => Credential::SecretFile(arguments.secret_file.clone()),
        Kind::Certificate => {
            Credential::Certificate { file: arguments.certificate.clone(), key: arguments.key.clone() }
        }
        Kind::WorkloadIdentity => Credential::WorkloadIdentity,
        Kind::ManagedIdentity => Credential::ManagedIdentity,
    };
    let audiences = arguments.audiences.clone();
    Ok(Plan { server, client_id, credential, audiences, upstream, scopes })
}

/// Asks whoever sits at the terminal, if anybody does.
struct Asker {
    is_heard: bool,
    /// The flags that would have said what nobody could be asked for.
    missing: Vec<&'static str>,
}

impl Asker {
    fn new() -> Self {
        let is_heard = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self { is_heard, missing: Vec::new() }
    }

    fn or(
        &mut self,
        given: Option<&String>,
        question: &str,
        flag: &'static str,
    ) -> Result<Option<String>, Failure> {
        match given {
            Some(given) => Ok(Some(given.clone())),
            None => self.ask(question, flag),
        }
    }

    /// The answer, once there is one; `None` = nobody can be asked.
    fn ask(&mut self, question: &str, flag: &'static str) -> Result<Option<String>, Failure> {
        if !self.is_heard {
            self.missing.push(flag);
            return Ok(None);
        }
        loop {
            eprint!("{question}: ");
            let mut line = String::new();
            let read = io::stdin().read_line(&mut line).context("cannot read the terminal")?;
            let answer = line.trim();
            if !answer.is_empty() {
                return Ok(Some(answer.to_owned()));
            }
            if read == 0 {
                return Err(Failure::Usage(anyhow!("there was no answer; see --help for the flags")));
            }
        }
    }
}
