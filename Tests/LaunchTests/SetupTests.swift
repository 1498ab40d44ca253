import Foundation
import TestSupport
import Testing

/// What the scripts install on a machine that lacks something, with `apt-get` only written down.
@Suite struct SetupTests {
  /// A machine on which some commands are not what they are here.
  private struct Machine {
    let folder: TemporaryFolder
    var environment: [String: String]

    init() throws {
      folder = try TemporaryFolder()
      environment = try folder.shadowing(
        "apt-get", with: #"echo "apt-get $*" >> "$(dirname "$0")/calls""#)
      try folder.write("", to: "calls")
    }

    func put(_ name: String, _ script: String) throws {
      _ = try folder.shadowing(name, with: script)
    }

    func install() throws -> Outcome {
      try Script.run(
        "/bin/bash",
        [
          "-c", "set -euo pipefail; me=Launch/x; . Launch/lib/setup.sh; install_missing_packages",
        ],
        environment: environment)
    }

    var calls: String {
      get throws { try String(contentsOf: folder.url.appending(path: "calls"), encoding: .utf8) }
    }
  }

  @Test func nothingMissingNeedsNoApt() throws {
    let machine = try Machine()
    try machine.put("pkg-config", "exit 0")
    try machine.put("mpirun", "exit 0")
    let outcome = try machine.install()
    #expect(outcome.code == 0)
    #expect(outcome.errors == "")
    #expect(try machine.calls == "")
  }

  @Test func rootInstallsWhatIsMissing() throws {
    let machine = try Machine()
    try machine.put("id", "echo 0")
    try machine.put("mpirun", "exit 0")
    try machine.put("pkg-config", "exit 1")
    let outcome = try machine.install()
    #expect(outcome.code == 0)
    #expect(outcome.complaints == ["Launch/x: installing libopenmpi-dev"])
    #expect(
      try machine.calls
        == "apt-get update\napt-get install -y --no-install-recommends libopenmpi-dev\n")
  }

  @Test func othersInstallThroughSudo() throws {
    let machine = try Machine()
    try machine.put("id", "echo 1000")
    try machine.put("pkg-config", "exit 1")
    try machine.put("mpirun", "exit 0")
    try machine.put("sudo", #"[ "$1" != -n ] || exit 0; echo sudo >> "${0%/*}/calls"; exec "$@""#)
    #expect(try machine.install().code == 0)
    #expect(try machine.calls.hasPrefix("sudo\napt-get update\nsudo\napt-get install -y "))
  }

  @Test func whoeverMayNotInstallIsToldTheLine() throws {
    let machine = try Machine()
    try machine.put("id", "echo 1000")
    try machine.put("pkg-config", "exit 1")
    try machine.put("mpirun", "exit 0")
    try machine.put("sudo", "exit 1")
    let outcome = try machine.install()
    #expect(outcome.code == 1)
    #expect(outcome.complaints.count == 1)
    #expect(
      outcome.errors.hasSuffix(
        ": apt-get update && apt-get install -y --no-install-recommends libopenmpi-dev\n"))
    #expect(try machine.calls == "")
  }

  @Test func aptsOwnWordsAreShownWhenItFails() throws {
    let machine = try Machine()
    try machine.put("id", "echo 0")
    try machine.put("mpirun", "exit 0")
    try machine.put("pkg-config", "exit 1")
    try machine.put("apt-get", "echo E: no network; exit 100")
    let outcome = try machine.install()
    #expect(outcome.code == 1)
    #expect(outcome.complaints.contains("E: no network"))
    #expect(outcome.complaints.last?.contains("libopenmpi-dev") == true)
  }
}
