import Foundation
import TestSupport

/// An emulated cluster under a name that only one test uses; what is left of it goes with the test.
final class EmulatedCluster: Sendable {
  let name = "test" + UUID().uuidString.lowercased().prefix(8)

  /// Whether this machine lets the tests make one.
  static let canBeMade: Bool = {
    let outcome = try? Script.run(
      "/bin/sh",
      [
        "-c",
        """
        PATH=$PATH:/usr/sbin:/sbin
        [ "$(id -u)" = 0 ] && command -v ip tc mpirun &&
          unshare --net --uts --ipc --mount ip link set lo up
        """,
      ])
    return outcome?.code == 0
  }()

  static let reason = "emulated hosts need root, the right to make network namespaces, and iproute2"

  deinit {
    _ = try? Script.run("Launch/emulated-cluster", ["down", "--name", name])
  }

  /// Runs one of the script's actions on this cluster, for a minute at most: hosts that do not find
  /// each other wait for ever.
  func callAsFunction(
    _ action: String, _ arguments: [String] = []
  ) throws -> Outcome {
    try Script.run(
      "/usr/bin/timeout",
      ["--kill-after=5", "60", "Launch/emulated-cluster", action, "--name", name] + arguments,
      environment: ["GYRE_BINARY": BuiltProducts.executable("gyre")])
  }

  /// The network namespaces that there are of this cluster, and of those that runs have made.
  var namespaces: [String] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/run/netns")) ?? []
    return all.filter { $0.hasPrefix(name) }.sorted()
  }
}

/// What `--counters` writes.
struct Counters: Decodable {
  struct Host: Decodable {
    let name: String
    let sentBytes: Int
    let receivedBytes: Int
  }
  let hosts: [Host]

  init(_ file: URL) throws {
    self = try JSONDecoder().decode(Counters.self, from: Data(contentsOf: file))
  }
}
