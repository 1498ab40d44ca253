import Attention
import Glibc
import Hosts
import Reporting

/// Says in one sentence that the processor lacks what the program was built for, and ends it.
func requireInstructionSet() {
  let missing = InstructionSet.missingFeatures(cpuinfo: text(ofFile: "/proc/cpuinfo"))
  if missing.isEmpty { return }
  printError(
    "gyre: this program was built for \(InstructionSet.name), and this processor lacks "
      + "\(missing.joined(separator: ", ")); build it for this processor with GYRE_MARCH=native.")
  exit(EXIT_FAILURE)
}
