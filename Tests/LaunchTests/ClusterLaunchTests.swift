import Foundation
import TestSupport
import Testing

/// `Launch/cluster` over ssh, between emulated hosts on which an ssh server of the tests' own runs.
@Suite(.enabled(if: SSHCluster.canBeMade, "\(SSHCluster.reason)"), .timeLimit(.minutes(1)))
struct ClusterLaunchTests {
  @Test func attentionAcrossHostsIsRight() throws {
    let cluster = try SSHCluster(hosts: 2)
    let outcome = try cluster.launch(
      hosts: "node1 slots=1\nnode2 slots=2\n",
      [
        "--interface", "eth0", "--no-bind", "-n", "3", "attend", "--random", "1x2049x4x2x64",
        "--causal",
        "--verify",
      ])
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output.contains("passed"))
    let rows = outcome.output.split(separator: "\n").map { $0.split(separator: " ") }
    for (rank, host) in ["node1", "node2", "node2"].enumerated() {
      #expect(rows.contains { $0.starts(with: ["\(rank)", host[...]]) }, "\(outcome.output)")
    }
  }

  @Test func variablesAndTheExitCodeComeAcross() throws {
    let cluster = try SSHCluster(hosts: 2)
    let folder = try TemporaryFolder()
    let gyre = try folder.write(
      """
      #!/bin/sh
      echo "$(hostname) $GYRE_COLOUR $OMPI_MCA_btl_tcp_links $*"
      sleep 0.3
      [ "$(hostname)" = node1 ] || exit 7
      """, to: "gyre", executable: true)
    let outcome = try cluster.launch(
      hosts: "node1\nnode2\n", ["--ranks-per-host", "1", "attend", "two words"],
      environment: [
        "GYRE_BINARY": gyre.path, "GYRE_COLOUR": "red", "OMPI_MCA_btl_tcp_links": "2",
      ])
    #expect(outcome.code == 7, "\(outcome.errors)")
    #expect(
      outcome.output.split(separator: "\n").sorted()
        == (1...2).map { "node\($0) red 2 attend two words" })
  }

  /// Nothing listens on node2; there is no node3.
  @Test func hostsThatDoNotAnswerAreNamedSoon() throws {
    let cluster = try SSHCluster(hosts: 2, serving: 1)
    let start = ContinuousClock.now
    let outcome = try cluster.launch(
      hosts: "node1 slots=1\nnode2 slots=1\nnode3 slots=1\n", ["attend"])
    #expect(ContinuousClock.now - start < .seconds(15))
    #expect(outcome.code == 1)
    #expect(outcome.output == "")
    #expect(outcome.complaints.count == 2, "\(outcome.errors)")
    #expect(outcome.errors.contains("node2 cannot be reached by ssh"))
    #expect(outcome.errors.contains("node3 cannot be reached by ssh"))
  }
}

/// Emulated hosts that are reached by ssh, with a key that only one test knows.
final class SSHCluster {
  static let canBeMade =
    EmulatedCluster.canBeMade && FileManager.default.isExecutableFile(atPath: "/usr/sbin/sshd")
    && FileManager.default.isExecutableFile(atPath: "/usr/bin/ssh-keygen")

  static let reason = "hosts with ssh need openssh-server, and \(EmulatedCluster.reason)"

  private let cluster = EmulatedCluster()
  private let folder: TemporaryFolder

  init(hosts: Int, serving: Int? = nil) throws {
    folder = try TemporaryFolder()
    let path = folder.path
    let up = try cluster("up", ["--hosts", "\(hosts)"])
    guard up.code == 0 else { throw Failure(message: up.errors) }
    for key in ["key", "host"] {
      _ = try Script.run(
        "/usr/bin/ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", "\(path)/\(key)"])
    }
    try folder.write(
      """
      HostKey \(path)/host
      AuthorizedKeysFile \(path)/key.pub
      StrictModes no
      UsePAM no
      PasswordAuthentication no
      PermitRootLogin prohibit-password
      PidFile none
      """, to: "sshd")
    try folder.write(
      """
      IdentityFile \(path)/key
      IdentitiesOnly yes
      StrictHostKeyChecking no
      UserKnownHostsFile /dev/null
      LogLevel ERROR
      """, to: "ssh")
    // Where sshd locks up what it has not let in yet.
    try FileManager.default.createDirectory(
      atPath: "/run/sshd", withIntermediateDirectories: true)
    // They end with the hosts.
    for host in 1...(serving ?? hosts) {
      let started = try on(
        host: host, ["/usr/sbin/sshd", "-f", "\(path)/sshd", "-E", "\(path)/log"])
      guard started.code == 0 else { throw Failure(message: started.errors) }
    }
  }

  struct Failure: Error { let message: String }

  private func on(
    host: Int, _ command: [String], environment: [String: String] = [:]
  ) throws -> Outcome {
    try Script.run(
      "Launch/lib/emulated-host", [cluster.name, "node\(host)", "--"] + command,
      environment: environment)
  }

  /// Runs `Launch/cluster` on node1.
  func launch(
    hosts: String, _ arguments: [String], environment: [String: String] = [:]
  ) throws -> Outcome {
    let file = try folder.write(hosts, to: "hosts")
    let variables = [
      "GYRE_BINARY": BuiltProducts.executable("gyre"), "GYRE_SSH": "ssh -F \(folder.path)/ssh",
    ]
    return try on(
      host: 1,
      ["timeout", "--kill-after=5", "40", "Launch/cluster", "--hostfile", file.path] + arguments,
      environment: variables.merging(environment) { $1 })
  }
}
