import Compute
import Testing

@Suite("The processor check")
struct InstructionSetTests {
  private func cpuinfo(_ flags: [String]) -> String {
    "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu \(flags.joined(separator: " ")) x\n"
  }

  @Test func namesWhatIsMissing() {
    let all = InstructionSet.features
    #expect(InstructionSet.missingFeatures(cpuinfo: cpuinfo(all)).isEmpty)
    for feature in all {
      let others = all.filter { $0 != feature }
      #expect(InstructionSet.missingFeatures(cpuinfo: cpuinfo(others)) == [feature])
    }
    // A longer name is another feature.
    #expect(InstructionSet.missingFeatures(cpuinfo: cpuinfo(all.map { $0 + "2x" })) == all)
  }

  @Test func theBestThatAProcessorHas() {
    let level3 = ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"]
    let level4 = level3 + ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]
    #expect(InstructionSet.best(cpuinfo: cpuinfo(level3)) == "x86-64-v3")
    #expect(InstructionSet.best(cpuinfo: cpuinfo(level4)) == "x86-64-v4")
    #expect(InstructionSet.best(cpuinfo: cpuinfo(Array(level4.dropLast()))) == "x86-64-v3")
    #expect(InstructionSet.best(cpuinfo: cpuinfo(Array(level4.dropFirst()))) == nil)
    #expect(InstructionSet.best(cpuinfo: "Features : neon\n") == nil)
  }

  @Test func aSystemThatTellsNothingIsNotRefused() {
    #expect(InstructionSet.missingFeatures(cpuinfo: "processor : 0\n").isEmpty)
    #expect(InstructionSet.missingFeatures(cpuinfo: "").isEmpty)
  }
}
