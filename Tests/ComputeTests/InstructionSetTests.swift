import Compute
import Testing

@Suite("The processor check")
struct InstructionSetTests {
  private static let level3 = ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"]
  private static let level4 =
    level3 + ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]

  private func cpuinfo(_ flags: [String]) -> String {
    "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu \(flags.joined(separator: " ")) x\n"
  }

  @Test(arguments: InstructionSet.allCases)
  func namesWhatIsMissing(set: InstructionSet) {
    let all = set.features
    #expect(set.missingFeatures(cpuinfo: cpuinfo(all)).isEmpty)
    for feature in all {
      let others = all.filter { $0 != feature }
      #expect(set.missingFeatures(cpuinfo: cpuinfo(others)) == [feature])
    }
    // A longer name is another feature.
    #expect(set.missingFeatures(cpuinfo: cpuinfo(all.map { $0 + "2x" })) == all)
  }

  @Test func theOnesThatAProcessorHas() throws {
    try #require(InstructionSet.compiled.contains(.avx2), "for x86-64")
    let all = InstructionSet.supported(cpuinfo: cpuinfo(Self.level4))
    #expect(all == [.avx2, .avx512])
    #expect(InstructionSet.supported(cpuinfo: cpuinfo(Self.level3)) == [.avx2])
    #expect(InstructionSet.supported(cpuinfo: cpuinfo(Array(Self.level4.dropLast()))) == [.avx2])
    #expect(InstructionSet.supported(cpuinfo: cpuinfo(Array(Self.level4.dropFirst()))) == [])
  }

  /// Such as one of arm64, or a container without /proc.
  @Test func aSystemThatTellsNothingIsNotRefusedAndUsesTheLeast() {
    for text in ["processor : 0\n", "", "Features : neon\n"] {
      #expect(InstructionSet.required.missingFeatures(cpuinfo: text).isEmpty)
      #expect(InstructionSet.supported(cpuinfo: text) == [.required])
    }
  }

  @Test func setsOfSeveralRanksAreNamedOnce() {
    #expect(InstructionSet.names(of: [.avx512, .avx512]) == "avx512")
    #expect(InstructionSet.names(of: [.avx512, .avx2, .avx512]) == "avx2 and avx512")
  }
}
