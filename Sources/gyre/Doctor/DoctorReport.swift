/// What the doctor says.
///
/// The names are the fields of the JSON object.
struct DoctorReport: Encodable {
  let threads: Int
  /// How many ranks mpirun would start at most; null where it did not say.
  let slots: Nullable<Int>
  /// Null under mpirun.
  let mpirun: Nullable<MpirunFacts>
  let hosts: [HostFacts]
  let perRank: [RankFacts]
  let findings: [Finding]

  init(_ facts: JobFacts) {
    threads = facts.threads
    slots = Nullable(value: facts.slots)
    mpirun = Nullable(value: facts.mpirun)
    hosts = facts.hosts
    perRank = facts.ranks
    findings = gyre.findings(from: facts)
  }

  /// One JSON object on one line.
  var json: String { get throws { try jsonLine(self) } }
}
