import Foundation
import TestSupport
import Testing

/// The doctor across emulated hosts.
@Suite(
  .enabled(if: EmulatedCluster.canBeMade, "\(EmulatedCluster.reason)"), .timeLimit(.minutes(3)))
struct DoctorClusterTests {
  private struct Report: Decodable {
    struct Host: Decodable { let name: String }
    struct Rank: Decodable { let host: Int }
    struct Finding: Decodable {
      let topic: String
      let severity: String
      let sentence: String
    }
    let hosts: [Host]
    let perRank: [Rank]
    let findings: [Finding]
    let slots: Int?
  }

  @Test(arguments: [("slot", [0, 0, 1, 1, 2, 2]), ("node", [0, 1, 2, 0, 1, 2])])
  func ranksAndHostsAreWhereTheyAre(mapping: String, places: [Int]) throws {
    let outcome = try EmulatedCluster()(
      "run",
      [
        "--hosts", "3", "--ranks-per-host", "2", "--map-by", mapping, "--", "doctor", "--report",
        "json",
      ])
    #expect(outcome.code == 0, "\(outcome.errors)")
    let report = try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
    #expect(report.hosts.map(\.name) == ["node1", "node2", "node3"])
    #expect(report.perRank.map(\.host) == places)
    #expect(report.slots == 6)
    func sentence(_ topic: String, _ severity: String) -> String? {
      report.findings.first { $0.topic == topic && $0.severity == severity }?.sentence
    }
    #expect(sentence("network", "ok")?.contains("10.77.0.0/24") ?? false)
    #expect(sentence("cores", "note")?.contains("one machine") ?? false)
    #expect(sentence("singleCopy", "ok") != nil)
  }
}
