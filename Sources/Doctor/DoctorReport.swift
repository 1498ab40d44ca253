package import Reporting

/// What the doctor says.
///
/// The names are the fields of the JSON object.
package struct DoctorReport: Encodable {
  /// Of the rank with fewest.
  package let threads: Int
  /// How many ranks mpirun would start at most; null where it did not say.
  package let slots: Nullable<Int>
  /// Null under mpirun.
  package let mpirun: Nullable<MpirunFacts>
  package let hosts: [HostFacts]
  package let perRank: [RankFacts]
  package let findings: [Finding]

  package init(_ facts: JobFacts) {
    threads = facts.ranks.map(\.threads).min() ?? 1
    slots = Nullable(value: facts.slots)
    mpirun = Nullable(value: facts.mpirun)
    hosts = facts.hosts
    perRank = facts.ranks
    findings = Doctor.findings(from: facts)
  }

  /// One JSON object on one line.
  package var json: String { get throws { try jsonLine(self) } }
}
