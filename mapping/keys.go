package mapping

// The codes of this package's faults, beside those of internal/conf. They are stable.
const (
	CodeUnknownColumn  = "unknown-column"  // a machine column that is not declared
	CodeMissingColumn  = "missing-column"  // a CSV lacks a column
	CodeMissingFile    = "missing-file"    // a file that another one refers to does not exist
	CodeUnknownTag     = "unknown-tag"     // no source has a tag of this id
	CodeOtherAsset     = "other-asset"     // the tag belongs to another asset: its samples never come here
	CodeReadOnlyTag    = "read-only-tag"   // an output's tag is not marked writable
	CodeTagType        = "tag-type"        // the tag list and the mapping differ in a tag's type
	CodeDuplicateName  = "duplicate-name"  // two things of one name
	CodeBadName        = "bad-name"        // a name that formulas could not use
	CodeTwoTriggers    = "two-triggers"    // a rule with more than one trigger
	CodeMissingTrigger = "missing-trigger" // a rule without a trigger
	CodeNoEffect       = "no-effect"       // a rule that emits and writes nothing
	CodeFormulaWanted  = "formula-wanted"  // a literal where only a formula makes sense
	CodeMisplacedKey   = "misplaced-key"   // a key that needs another one beside it
	CodeComment        = "yaml-comment"    // a " #" that cuts a formula off
	CodeUnknownName    = "unknown-name"    // a name that stands for nothing
	CodeUnknownField   = "unknown-field"   // a field that the message does not have
	CodeTwoAssets      = "two-assets"      // one work centre with two assets
	CodeNothingHere    = "nothing-here"    // no mapping file where one was looked for
	CodeNoMachine      = "no-machine"      // a mapping that no plant file uses
)

// The features that have a name in the design and no room in this version, for the faults that say so.
const (
	laterInclude   = "it comes with shared parts of mappings"
	laterWindows   = "it comes with windows"
	laterCalendar  = "it comes with calendars and shifts"
	laterDuration  = "it comes with rules about how long a state lasts"
	laterRepeat    = "it comes with repetition"
	laterLateness  = "it comes with corrections of late data"
	laterContext   = "it comes with order contexts beyond one tag"
	laterLanes     = "it comes with parallel orders"
	laterTime      = "it comes with other clocks than the source's"
	laterKeyed     = "it comes with state per serial number"
	laterEntries   = "it comes with operator entries"
	laterEvents    = "it comes with mappings on events"
	laterRename    = "it comes with migrations of state"
	laterTexts     = "it comes with texts in several languages"
	laterReasons   = "it comes with scrap reasons"
	laterExactUnit = "it comes with rounding by rule"
)

func laterOfFile() map[string]string {
	return map[string]string{
		"include": laterInclude, "lanes": laterLanes, "time": laterTime, "late": laterLateness, "lateness": laterLateness,
		"correct_for": laterLateness, "per": laterKeyed, "ttl": laterKeyed, "texts": laterTexts, "zone": laterCalendar,
		"shift": laterCalendar, "calendar": laterCalendar, "entries": laterEntries, "forms": laterEntries, "each": laterRepeat,
	}
}

func laterOfInput() map[string]string {
	return map[string]string{
		"each": laterRepeat, "time": laterTime, "zone": laterTime, "offset": laterTime, "late": laterLateness,
		"lateness": laterLateness, "align": laterWindows, "min_stable": laterDuration,
	}
}

func laterOfContext() map[string]string {
	return map[string]string{
		"effective": laterContext, "backdate": laterContext, "lanes": laterLanes, "time": laterTime, "zone": laterTime,
		"each": laterRepeat, "unit": laterExactUnit,
	}
}

func laterOfRule() map[string]string {
	return map[string]string{
		"for": laterDuration, "while": laterDuration, "min": laterDuration, "cron": laterCalendar, "zone": laterCalendar,
		"shift": laterCalendar, "window": laterWindows, "late": laterLateness, "lateness": laterLateness,
		"correct_for": laterLateness, "per": laterKeyed, "ttl": laterKeyed, "each": laterRepeat, "lanes": laterLanes,
		"renamed_from": laterRename, "scrap_reasons": laterReasons,
	}
}

func laterOfPlant() map[string]string {
	return map[string]string{
		"lanes": laterLanes, "zone": laterCalendar, "shift": laterCalendar, "calendar": laterCalendar, "include": laterInclude,
		"lateness": laterLateness, "late": laterLateness,
	}
}

func laterOfReceive() map[string]string {
	return map[string]string{
		"Entry": laterEntries, "ProductionOrderEvent": laterEvents, "QualityEvent": laterEvents, "EquipmentEvent": laterEvents,
		"MaterialConsumptionEvent": laterEvents, "OeeEvent": laterEvents, "UnitEvent": laterEvents,
	}
}

func laterOfTest() map[string]string {
	return map[string]string{"lanes": laterLanes, "zone": laterCalendar, "machines": laterEvents}
}

func laterOfStep() map[string]string { return map[string]string{"entry": laterEntries} }
