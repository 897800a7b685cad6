package conformance

import "strings"

// elsewhere says where rules are tested that packets cannot show, or not these ones:
// "package TestName", several separated by commas. What is not tested yet says so and
// what is missing.
var elsewhere = map[int]string{
	22:  "agent/internal/reconcile TestNodePortsFollowTheNodesAddresses, agent/internal/nodeaddr TestWatchTellsOfAnAddressThatComes",
	65:  "agent/internal/healthcheck TestTheAnswerSaysWhetherThereAreEndpointsHere, agent/internal/reconcile TestHealthChecksFollowTheEndpointsOnTheNode",
	66:  "agent/internal/healthcheck TestTheAnswerSaysWhetherThereAreEndpointsHere",
	67:  "agent/internal/healthcheck TestTheAnswerSaysWhetherThereAreEndpointsHere",
	68:  "agent/internal/reconcile TestHealthChecksFollowTheEndpointsOnTheNode",
	69:  "agent/internal/healthcheck TestThePortClosesWithTheService, agent/internal/reconcile TestHealthChecksFollowTheEndpointsOnTheNode",
	70:  "agent/internal/healthcheck TestAPortThatIsTakenIsTriedAgain; not yet: the Event on the Service",
	71:  "not yet: Services of type NodePort and ClusterIP with a healthCheckNodePort",
	91:  "controlplane/internal/manifest TestOnlyChangedObjectsAreReported, controlplane/internal/admission TestAnUnchangedObjectChangesNothing, controlplane/internal/compile TestOrderDoesNotMatter, controlplane/reference TestOrderDoesNotMatter",
	102: "test/conformance TestMasqueradeMark",
	103: "test/conformance TestMasqueradeMark",
	106: "not yet: one family that fails while the other goes on",
	112: "not yet: a node without IPv6",
	113: "not yet: which family is the primary one",

	114: "agent/internal/reconcile TestConnectionsOfUDPFrontendsAreLookedAtAfterTheirEndpointsChange",
	115: "agent/internal/conntrack TestOnlyUDPEntriesOfFrontendsThatNothingServesAreDeleted",
	116: "agent/internal/reconcile TestConnectionsOfUDPFrontendsAreLookedAtAfterTheirEndpointsChange",
	117: "agent/internal/reconcile TestConnectionsOfUDPFrontendsAreLookedAtAfterTheirEndpointsChange",
	118: "agent/internal/conntrack TestOnlyUDPEntriesOfFrontendsThatNothingServesAreDeleted",
	119: "agent/internal/conntrack TestOnlyUDPEntriesOfFrontendsThatNothingServesAreDeleted",
	120: "not yet: dumps that are interrupted",
	121: "agent/internal/reconcile TestConnectionsOfUDPFrontendsAreLookedAtAfterTheirEndpointsChange",
	122: "not yet: a packet that is INVALID on its way to a client",

	123: "controlplane/internal/round TestNothingIsServedBeforeTheSourceIsSynced, controlplane/internal/kube TestRunIsNotSyncedBeforeEveryKindIs",
	124: "controlplane/internal/round TestPauseIsByCostAndBounded",
	125: "agent/internal/reconcile TestAFailedApplyIsRetriedAndThenAcknowledged, agent/internal/dataplane/nftables TestAReplacementFollowsAFailedChange",
	126: "agent/internal/reconcile TestRulesThatSomebodyTookAwayComeBackByThemselves",
	127: "controlplane/internal/round TestARoundCompilesWhatChangedAndNothingElse",
	128: "agent/internal/reconcile TestATransactionWithoutEffectDoesNotTouchTheKernel, agent/internal/ruleset TestAnUpdateThatChangesNothingIsEmpty",
	129: "agent/internal/reconcile TestRulesOfAnEarlierAgentStayUntilTheControlPlaneSpeaks, agent/internal/dataplane/nftables TestNoConnectionIsLostWhileTheRulesAreReplaced",
	130: "agent/internal/dataplane/nftables TestATamperedSkeletonIsMadeAnew",
	131: "agent/internal/reconcile TestANodeThatIsGoneIsNotEligible, agent/internal/metrics TestANodeThatGoesAwayIsNotHealthyButAlive",
	132: "not yet: a Node without addresses at start",
	133: "not yet: a configuration file that changes",
	134: "not yet: how a node's name is found",
	135: "agent/internal/dataplane/nftables TestCleanupLeavesNothing; not yet: leftovers of other modes",
	136: "not yet: by a test of its own; all scenarios rely on it, since portolan apply has ended when packets are sent",
	137: "not yet: --init-only",
	138: "not yet: Events on the Node",
	139: "agent/internal/sysctl TestApply",
	140: "agent/internal/sysctl TestApply",
	141: "agent/internal/sysctl TestApply, agent/internal/sysctl TestWhatIsRightIsNotWritten",
	142: "agent/internal/sysctl TestApply; not yet: a failure at start",

	160: "agent/internal/metrics TestANodeIsUnhealthyOnlyWhenAChangeHasWaitedTooLong; not yet: the status of each family",
	161: "agent/internal/metrics TestANodeIsUnhealthyOnlyWhenAChangeHasWaitedTooLong",
	162: "agent/internal/metrics TestANodeThatGoesAwayIsNotHealthyButAlive",
	163: "not yet: lastUpdated of a node that is healthy",
	164: "agent/internal/metrics TestMetricsAreWellFormed; not yet: /configz, /metrics/slis, pprof, flagz, statusz",
	165: "agent/internal/metrics TestServeSaysWhichAddressIsTaken; not yet: trying again",

	166: "not yet: metrics under kube-proxy's names",
	167: "not yet: metrics under kube-proxy's names",
	168: "not yet: metrics under kube-proxy's names",
	169: "not yet: metrics under kube-proxy's names",
	170: "not yet: metrics under kube-proxy's names",
	171: "not yet: metrics under kube-proxy's names",
	172: "not yet: metrics under kube-proxy's names",
	173: "not yet: a list of the names that an agent uses",
	174: "controlplane/internal/proxyconfig TestDecode, controlplane/internal/proxyconfig TestIPVSFile",
	175: "controlplane/internal/proxyconfig TestIPVSFile, controlplane/internal/proxyconfig TestWhatHasNoEffectIsSaid; not yet: a warning for every field without effect",
	176: "controlplane/internal/proxyconfig TestErrorsNameFieldValueAndExpectation; not yet: the lenient reading of unknown fields, which are refused",
}

const notYet = "not yet: "

// splitElsewhere separates the tests of an entry from what is missing.
func splitElsewhere(entry string) (tests []string, missing string) {
	before, missing, found := strings.Cut(entry, notYet)
	if !found {
		missing = ""
	}
	for test := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(before), ";"), ",") {
		if test = strings.TrimSpace(test); test != "" {
			tests = append(tests, test)
		}
	}
	return tests, missing
}
