import Foundation
import TestSupport
import Testing

/// Which packages are installed for tests and plots alone, with `apt-get` only written down.
@Suite struct TestPackageTests {
  /// Runs the function on a machine that has none of the commands but those of a few folders.
  private func install(
    _ function: String = "install_test_packages", user: Int, services: Bool
  ) throws -> (Outcome, calls: String) {
    let folder = try TemporaryFolder()
    var environment = try folder.shadowing(
      "apt-get", with: #"echo "apt-get $*" >> "${0%/*}/calls""#)
    _ = try folder.shadowing("id", with: "echo \(user)")
    _ = try folder.shadowing("sudo", with: "exit 1")
    _ = try folder.shadowing("ip", with: "exit 0")
    _ = try folder.shadowing("tc", with: "exit 0")
    try folder.write("", to: "calls")
    for name in ["bash", "mktemp", "rm", "env", "dirname", "readlink", "tail", "python3"] {
      try FileManager.default.createSymbolicLink(
        atPath: "\(folder.path)/\(name)",
        withDestinationPath: name == "python3" ? "/bin/false" : "/usr/bin/\(name)")
    }
    environment["PATH"] = folder.path
    let outcome = try Script.run(
      "/bin/bash",
      [
        "-c",
        """
        set -euo pipefail; me=Launch/x; . Launch/lib/setup.sh
        services_start() { \(services); }
        system_folders=
        \(function); echo on
        """,
      ], environment: environment)
    let calls = try String(contentsOf: folder.url.appending(path: "calls"), encoding: .utf8)
    // The system's own Python is asked too, and may have it.
    return (outcome, calls.replacing(#/ python3-(yaml|numpy)/#, with: ""))
  }

  @Test func whatIsMissingIsInstalled() throws {
    let (outcome, calls) = try install(user: 0, services: false)
    #expect(outcome.output == "on\n", "\(outcome.errors)")
    #expect(
      calls.hasSuffix(
        " gnuplot-nox openssh-client slurm-wlm munge openssh-server\n"), "\(calls)")
    #expect(!calls.contains("iproute2"))
  }

  /// Where installing a server starts it, that is for the machine's owner to decide.
  @Test func serversAreOnlyNamedWhereTheyWouldStart() throws {
    let (outcome, calls) = try install(user: 0, services: true)
    #expect(outcome.output == "on\n", "\(outcome.errors)")
    #expect(calls.hasSuffix(" gnuplot-nox openssh-client\n"), "\(calls)")
    #expect(outcome.errors.contains("not installing slurm-wlm munge openssh-server"))
  }

  @Test func whoeverMayNotInstallGoesOnWithout() throws {
    let (outcome, calls) = try install(user: 1000, services: false)
    #expect(outcome.output == "on\n")
    #expect(calls == "")
    #expect(outcome.errors.contains("skipped"), "\(outcome.errors)")
  }

  /// `Launch/install` installs what `gyre plot` starts.
  @Test(arguments: [(0, " gnuplot-nox\n", ""), (1000, "", "until gnuplot is installed")])
  func plotsGetTheirProgram(user: Int, calls: String, errors: String) throws {
    let (outcome, made) = try install("install_plot_packages", user: user, services: false)
    #expect(outcome.output == "on\n", "\(outcome.errors)")
    #expect(calls.isEmpty ? made.isEmpty : made.hasSuffix(calls), "\(made)")
    #expect(errors.isEmpty || outcome.errors.contains(errors), "\(outcome.errors)")
  }
}
