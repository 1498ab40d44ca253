/// Where a rank runs.
package struct RankPlace: Codable, Sendable {
  package let host: String
  /// The same for all hosts that one kernel runs: containers and emulated hosts.
  package let machine: String
  package let grant: ProcessorGrant

  package init(host: String, machine: String, grant: ProcessorGrant) {
    self.host = host
    self.machine = machine
    self.grant = grant
  }
}
