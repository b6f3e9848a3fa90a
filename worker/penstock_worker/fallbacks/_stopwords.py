# ruff: noqa: RUF001 - Cyrillic is meant
"""Words that say nothing about a text, by language; and which snowball stemmer a language has.

Kept short on purpose: enough to tell these languages apart and to keep glue words out of the scores.
"""

from typing import Final

_WORDS: Final[dict[str, str]] = {
    "en": """a about above after again against all also am an and any are aren't as at be because been
        before being below between both but by can can't cannot could couldn't did didn't do does doesn't
        doing don't down during each few for from further had hadn't has hasn't have haven't having he her
        here hers him his how i i'd i'll i'm i've if in into is isn't it it's its itself just let's me
        more most my myself no nor not of off on once only or other our ours out over own same she should
        shouldn't so some such than that that's the their theirs them then there there's these they
        they're this those through to too under until up us very was wasn't we we're we've were weren't
        what when where which while who whom why will with won't would wouldn't you you're your yours""",
    "de": """aber alle als also am an auch auf aus bei bin bis bist da damit dann das dass dein dem den
        denn der des die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem einen
        einer eines er es etwas euch euer für gegen habe haben hat hatte hier ich ihm ihn ihr ihre im in
        ist ja jede jeder kann kein keine man mein mich mir mit muss nach nicht noch nun nur ob oder ohne
        schon sehr sein seine sich sie sind so über um und uns unser unter vom von vor war waren was weil
        wenn wer werden wie wir wird wo zu zum zur zwischen""",
    "fr": """à ai alors au aucun aussi autre aux avec avez avoir avons c'est ce cela ces cet cette ceux
        comme dans de des du elle elles en encore est et été être eux fait il ils j'ai je la le les leur
        leurs lui ma mais me même mes moi mon ne nos notre nous on ont ou où par pas peut plus pour quand
        que qui s'il sa sans se ses si son sont sur ta te tes toi ton tous tout très tu un une vos votre
        vous y""",
    "es": """a al algo ante antes como con contra cual cuando de del desde donde durante e el él ella
        ellas ellos en entre era es esa ese eso esta está estaba este esto están estos fue ha había han
        has hasta hay he la las le les lo los más me mi mis mucho muy nada ni no nos nosotros nuestra
        nuestro o os otra otro para pero poco por porque que qué quien se sea ser si sí sin sobre son soy
        su sus también tan te tiene todo tu tus un una uno unos y ya yo""",
    "it": """a ad ai al alla alle anche avere aveva c'è che chi ci come con cui da dal dalla dei del della
        delle di dove e è ed era essere fa gli ha hai hanno ho i il in io l'ha la le lei li lo loro lui ma
        mi mia mio molto ne negli nel nella noi non nostra nostro o per perché più quale quando quella
        quello questa questo qui se sei si sia siamo sono su sua sul sulla suo ti tra tu tutti tutto un
        una uno vi voi""",
    "pt": """a ao aos as até com como da das de dela dele do dos e é ela elas ele eles em entre era essa
        esse esta está este eu foi há isso isto já lhe mais mas me mesmo meu minha muito na não nas nem no
        nos nossa nosso num numa o os ou para pela pelo por qual quando que quem se sem ser seu sua são
        também te tem tem um uma você vocês""",
    "nl": """aan al alle als bij dan dat de der deze die dit door een en er ge geen had heb hebben heeft
        het hier hij hoe hun ik in is je jij kan kunnen maar me meer met mij mijn naar niet nog nu of om
        omdat onder ons onze ook op over te tegen toch toen tot uit uw van veel voor want waren was wat we
        wel werd wie wij worden zal ze zich zij zijn zo zonder zou""",
    "sv": """alla att av bara blev bli de dem den denna det detta dig din du där efter ej eller en er ett
        för från ha hade han har henne hon hur här i icke inte ja jag kan med men mig min mot mycket ni nu
        när och om oss på sedan sig sin ska som så till under upp ut vad var vi vid vill är över""",
    "pl": """a ale bardzo być był była było bo by ci co czy dla do gdy go i ich ja jak jako je jego jej
        jest jeszcze już każdy kiedy kto która które który ma mnie może my na nad nie nim o od oraz po pod
        przed przez przy się są ta tak także tam te tego ten to tu tylko ty w was we więc wszystko z za ze
        że""",
    "ru": """а без был была были было быть в вам вас весь во вот все всего вы где да для до его ее если
        есть еще же за здесь и из или им их к как когда кто ли мне может мы на над нам нас не него нее нет
        ни но о об он она они от по под при с со так также там то того только у уже чем что чтобы это
        этого этой этот я""",
}

STOP_WORDS: Final[dict[str, frozenset[str]]] = {code: frozenset(words.split()) for code, words in _WORDS.items()}

NO_STOP_WORDS: Final[frozenset[str]] = frozenset()

# Snowball's name for each language code we can be given; a language that is missing is not stemmed.
STEMMERS: Final[dict[str, str]] = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
