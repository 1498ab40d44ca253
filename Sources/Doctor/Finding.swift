/// One thing that the doctor has found.
package struct Finding: Encodable, Sendable {
  /// How bad it is, from the worst.
  package enum Severity: String, Encodable, Sendable, CaseIterable {
    /// Jobs fail, or are several times slower than they need be.
    case problem
    /// Some jobs fail, or are slower than they need be.
    case warning
    /// Worth knowing.
    case note
    /// As it should be.
    case ok
  }

  /// What was looked at.
  package enum Topic: String, Encodable, Sendable {
    case cores, binding, slots, mpirun, versions, processor, user, limits, memory, network, names
    case sharedMemory, singleCopy, openMPI
  }

  package let topic: Topic
  package let severity: Severity
  /// The hosts that it is about; none where it is about all.
  package var hosts: [String] = []
  /// The ranks that it is about; none where it is about all.
  package var ranks: [Int] = []
  /// What was found, in a sentence.
  package let sentence: String
  /// What to do about it, in a sentence; nil where nothing is to be done.
  package var remedy: String?

  package static func ok(_ topic: Topic, _ sentence: String) -> Finding {
    Finding(topic: topic, severity: .ok, sentence: sentence)
  }
}

/// Everything that there is to say about a job and its hosts, worst first.
package func findings(from facts: JobFacts) -> [Finding] {
  let all =
    launchFindings(facts) + versionFindings(facts) + coreFindings(facts) + memoryFindings(facts)
    + singleCopyFindings(facts) + networkFindings(facts) + hostFindings(facts)
  let merged = all.merged
  return Finding.Severity.allCases.flatMap { severity in merged.filter { $0.severity == severity } }
}

extension [Finding] {
  /// Those that say the same of several hosts as one.
  fileprivate var merged: [Finding] {
    var result: [Finding] = []
    for finding in self {
      let index = result.firstIndex {
        $0.topic == finding.topic && $0.severity == finding.severity
          && $0.sentence == finding.sentence && $0.remedy == finding.remedy
      }
      if let index {
        result[index].hosts += finding.hosts.filter { !result[index].hosts.contains($0) }
        result[index].ranks += finding.ranks
      } else {
        result.append(finding)
      }
    }
    return result
  }
}
